// Asking the server: JSON with the token, every failure as a sentence, and the live feed. A file that holds a recorded run
// has no server: it answers itself.
import { keepToken, takeToken } from "./place.js";
import { answering } from "./recorded.js";

const kept = document.getElementById("recorded");
/** Whether this is a file with one run in it, to be read only. */
export const recorded = Boolean(kept);

let token = recorded ? "" : takeToken();
const page = Math.random().toString(36).slice(2, 12);
const root = new URL("api/", document.baseURI);

export class Problem extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const answers = kept && opened(kept.textContent);

async function opened(text) {
  if (typeof DecompressionStream === "undefined") throw new Problem(0, "this browser is too old to open the file: it cannot decompress");
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return answering(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json());
}

export function useToken(given) {
  token = given;
  keepToken(given);
}

function headers(more = {}) {
  return { "x-executus-token": token, "x-executus-page": page, ...more };
}

async function checked(response) {
  if (response.ok) return response;
  let sentence = `the server answered with ${response.status}`;
  try {
    sentence = (await response.json()).error || sentence;
  } catch {
    // not ours: the number has to do
  }
  throw new Problem(response.status, sentence);
}

async function asked(path, options) {
  try {
    return await checked(await fetch(new URL(path, root), options));
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem(0, "the debugger's server does not answer; is it still running?");
  }
}

function withQuery(path, query) {
  const given = Object.entries(query || {}).flatMap(([name, value]) => [value].flat().map((one) => [name, one])).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export async function ask(path, query, signal) {
  if (recorded) return (await answers)(path, query);
  return (await asked(withQuery(path, query), { headers: headers(), signal })).json();
}

export async function order(run, what) {
  const options = { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(what) };
  return (await asked(`runs/${run}/orders`, options)).json();
}

export async function send(path, what, signal) {
  const options = { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(what), signal };
  return (await asked(path, options)).json();
}

export async function blob(path) {
  if (recorded) {
    const { events } = (await answers)("recorded");
    return new Blob(events.map((event) => `${JSON.stringify(event)}\n`), { type: "application/x-ndjson" });
  }
  return (await asked(path, { headers: headers() })).blob();
}

export async function download(path, name) {
  const url = URL.createObjectURL(await blob(path));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Follow a feed until the returned function is called. After a loss it goes on from the last event it saw. */
export function follow(path, last, { told, state }) {
  if (recorded) return () => {};
  const stop = new AbortController();
  let known = last;
  (async () => {
    for (let pause = 250; !stop.signal.aborted; pause = Math.min(pause * 2, 5_000)) {
      try {
        const response = await fetch(new URL(path, root), { headers: headers({ "last-event-id": String(known) }), signal: stop.signal });
        await checked(response);
        state("open");
        for await (const event of events(response.body)) {
          pause = 250;
          if (event.id) known = event.id;
          if (event.data && event.event !== "open") told(JSON.parse(event.data));
        }
      } catch (error) {
        if (error instanceof Problem && error.status === 401) return state("refused");
      }
      if (stop.signal.aborted) return;
      state("lost");
      await new Promise((done) => setTimeout(done, pause));
    }
  })();
  return () => stop.abort();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (left + value).split(/\r?\n\r?\n/);
    left = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split(/\r?\n/)) {
        const colon = line.indexOf(":");
        if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      yield event;
    }
  }
}
