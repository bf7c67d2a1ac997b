// Numbers, times and values as people read them.

export function count(value) {
  return (value || 0).toLocaleString("en");
}

export function short(run) {
  return run.slice(-8);
}

export function many(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function span(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
}

/** Milliseconds of "1 h 2 m 3.5 s", "90s", "250 ms" or "1:30"; null if it is no time. */
export function milliseconds(text) {
  const parts = text.trim().match(/^(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?:in)?(?!s))?\s*(?:(\d+(?:\.\d+)?)\s*s)?\s*(?:(\d+)\s*ms)?$/i);
  const [h, m, s, ms] = (parts || []).slice(1).map((one) => Number(one || 0));
  if (parts && parts[0]) return ((h * 60 + m) * 60 + s) * 1_000 + ms;
  const colons = /^(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)$/.exec(text.trim());
  return colons ? ((Number(colons[1] || 0) * 60 + Number(colons[2])) * 60 + Number(colons[3])) * 1_000 : null;
}

export function clock(us) {
  return us ? new Date(us / 1_000).toLocaleTimeString("en-GB") : "";
}

export function when(us) {
  return us ? new Date(us / 1_000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "";
}

export function usd(value) {
  return value ? `$${value < 0.01 ? value.toFixed(5) : value.toFixed(2)}` : "";
}

export function plain(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "string") return value === "" ? "“”" : value;
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}

/** JSON text as JSON is easiest to read; what is not JSON stays as it is. */
export function spread(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function steps(pointer) {
  return pointer.split("/").slice(1).map((one) => one.replace(/~1/g, "/").replace(/~0/g, "~"));
}

export function pointer(path) {
  return path.map((one) => "/" + String(one).replace(/~/g, "~0").replace(/\//g, "~1")).join("");
}
