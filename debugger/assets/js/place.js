// Where the reader is. It all stands in the fragment of the address, so that a moment can be linked to:
//   #/                                    the list of runs
//   #/run/ID?v=120&depth=groups&pin=80    a moment of a run; without v it is the newest, and is followed
//   #/run/ID?watch=status,limits          the same, with values that are watched
//   #/compare?a=ID&b=ID                   two runs side by side
// The token comes in the same place once, is kept for this tab, and is taken out of the address.
import { useEffect, useState } from "./html.js";

const KEPT = "executus-token";

export function takeToken() {
  const place = read();
  const bare = new URLSearchParams(location.hash.replace(/^#\/?/, "")).get("token");
  const token = place.params.token || bare;
  if (token) {
    sessionStorage.setItem(KEPT, token);
    delete place.params.token;
    history.replaceState(null, "", address(place.path, place.params));
  }
  return sessionStorage.getItem(KEPT) || "";
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

export function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.includes("=") ? "" : path, params: Object.fromEntries(new URLSearchParams(query || "")) };
}

export function address(path, params = {}) {
  const kept = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(kept).toString();
  return `#/${path}${query ? "?" + query : ""}`;
}

const told = new Set();

/** Go somewhere. A step within a run replaces the address, so that "back" leads to where one came from. */
export function go(path, params, { replace = false } = {}) {
  const to = address(path, params);
  if (to === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  for (const one of told) one();
}

addEventListener("hashchange", () => told.forEach((one) => one()));
addEventListener("popstate", () => told.forEach((one) => one()));

export function usePlace() {
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const look = () => setPlace(read());
    told.add(look);
    return () => told.delete(look);
  }, []);
  return place;
}
