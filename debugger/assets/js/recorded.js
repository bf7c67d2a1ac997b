// The answers of a file that has a run in it and no server behind it: what the server would say, made of what it recorded.
// The state at a moment is the one at the beginning with the changes of every event up to there.
import { pointer, steps } from "./words.js";

const KEPT = 128; // events from one kept state to the next
const NAMES = ["call", "id", "role", "run_id", "type"]; // what tells the items of a list apart
const VOCABULARY = new Set(["default", "effect", "kind", "role", "stop", "type"]); // fields that nobody said
const AROUND = 60;

/** A function that answers as `ask` does, of what `debugger/recorded.py` made. */
export function answering(data) {
  const first = data.run.first;
  const head = data.run.head;
  const kept = [data.base];
  const moment = (version) => data.moments[version - 1 - first];
  const checked = (version) => {
    if (!(version >= first && version <= head)) throw new Error(`this file has versions ${first} to ${head} of the run, not ${version}`);
    return version;
  };

  function stateAt(version) {
    const number = Math.floor((checked(version) - first) / KEPT);
    while (kept.length <= number) kept.push(advanced(kept[kept.length - 1], (kept.length - 1) * KEPT, kept.length * KEPT));
    return advanced(kept[number], number * KEPT, version - first);
  }

  function advanced(base, from, to) {
    const own = new Set();
    let state = base;
    for (let index = from; index < to; index += 1) {
      const [shown, bounds] = data.steps[index];
      for (const step of shown) state = applied(state, ["shown", ...steps(step[0])], step, own);
      for (const step of bounds) state = applied(state, ["bounds", ...steps(step[0])], step, own);
    }
    return state;
  }

  function chosen(query) {
    const { lane, tag, tool, text, failed, least } = query;
    if (![lane, tag, tool, text, failed, least].some(Boolean)) return data.moments;
    return data.moments.filter((one) => (!lane || one.lane === lane) && (!tag || one.tag === tag) && (!tool || one.tool === tool) && (failed !== "1" || one.wrong) && one.importance >= Number(least || 0) && (!text || hitIn(data.events[one.version - 1 - first].fact, text)));
  }

  function windowed(query, rows, place, name) {
    const limit = Number(query.limit || 100);
    let skip = Number(query.skip || 0);
    if (query.after !== undefined) skip = place(Number(query.after) + 1);
    const row = Number(query.around) ? place(Number(query.around)) : null;
    if (row !== null) skip = Math.max(0, Math.min(row - Math.floor(limit / 2), rows.length - limit));
    return { head, total: rows.length, skip, row, [name]: rows.slice(skip, skip + limit) };
  }

  const answers = {
    "": () => data.run,
    line: () => data.line,
    moments(query) {
      const rows = chosen(query);
      return windowed(query, rows, (version) => before(rows, (one) => one.version < version), "moments");
    },
    groups(query) {
      const rows = chosen(query);
      let groups = data.groups;
      if (rows !== data.moments) {
        const wanted = new Set(rows.map((one) => one.version));
        const keys = new Set(rows.filter((one) => one.step || one.call).map((one) => `${one.step} ${one.call}`));
        groups = groups.filter((one) => wanted.has(one.first) || keys.has(`${one.step} ${one.call}`));
      }
      return windowed(query, groups, (version) => Math.max(0, before(groups, (one) => one.first <= version) - 1), "groups");
    },
    next({ what, after, back }) {
      const fits = { error: (one) => one.wrong, critic: (one) => one.lane === "critic", limit: (one) => data.limit_tags.includes(one.tag) }[what];
      const by = back ? -1 : 1;
      for (let at = Number(after) + by; at > first && at <= head; at += by) if (fits(moment(at))) return { version: at };
      return { version: null };
    },
    when: ({ elapsed_ms }) => ({ version: first + before(data.moments, (one) => one.elapsed_ms <= Number(elapsed_ms || 0)) }),
    at(query, version) {
      const now = stateAt(Number(version));
      const against = query.against === undefined ? Math.max(first, Number(version) - 1) : Number(query.against);
      const { state, transcript, ...rest } = now.shown;
      const changes = [...changed(stateAt(against).shown, now.shown, "")];
      return {
        run: data.run.run, head, version: Number(version), against,
        event: Number(version) > first ? cut(data.events[version - 1 - first]) : null,
        shown: { ...rest, state: cut(state), transcript: { messages: transcript.messages.length, asked: cut(transcript.asked), answers: cut(transcript.answers), heard: cut(transcript.heard) } },
        bounds: now.bounds,
        messages: told(transcript.messages, Math.max(0, transcript.messages.length - 40), 40),
        heard: told(transcript.heard, 0, 40).messages,
        diff: { total: changes.length, changes: changes.slice(0, 300).map((one) => cut(one)) },
      };
    },
    messages: (query) => told(stateAt(Number(query.at ?? head)).shown.transcript.messages, Number(query.skip || 0), Number(query.limit || 40)),
    events(_, version) {
      if (checked(Number(version)) === first) throw new Error(`event ${version} is before what is in this file`);
      return data.events[version - 1 - first];
    },
    blame({ path, at }) {
      const found = writes(place(path), Number(at || head)).reverse();
      return { path, total: found.length, writes: found.slice(0, 200) };
    },
    watch: ({ path, at }) => watched([path].flat(), Number(at ?? head)),
    family({ at }) {
      const [version, family] = data.families.findLast(([one]) => one <= Number(at)) || data.families[0] || [0, null];
      if (!family) throw new Error("the family is not in the file: a log of it could not be read");
      return { ...family, as_of: version };
    },
  };

  function writes(where, to) {
    const found = [];
    let state = data.base;
    const own = new Set();
    const path = pointer(where);
    for (let index = 0; index < to - first; index += 1) {
      const was = valueAt(state.shown, where);
      let touched = false;
      for (const step of data.steps[index][0]) touched = touched || step[0] === path || step[0].startsWith(`${path}/`) || path.startsWith(`${step[0]}/`);
      if (touched) own.clear(); // what `was` holds is not written into
      for (const step of data.steps[index][0]) state = applied(state, ["shown", ...steps(step[0])], step, own);
      if (!touched) continue;
      const is = valueAt(state.shown, where);
      if (same(was, is)) continue;
      const one = data.moments[index];
      found.push({ version: one.version, tag: one.tag, by: data.authors[index], title: one.title, op: was === undefined ? "add" : is === undefined ? "remove" : "replace", before: cut(was ?? null, 300, 20), after: cut(is ?? null, 300, 20) });
    }
    return found;
  }

  function place(path) {
    const plain = path.trim();
    const way = plain.includes("/") ? steps(plain.startsWith("/") ? plain : `/${plain}`) : plain ? plain.split(".") : [];
    const { state, transcript } = data.base.shown;
    if (!way.length || way[0] in data.base.shown) return way;
    if (way[0] in state) return ["state", ...way];
    if (way[0] in state.governed) return ["state", "governed", ...way];
    if (way[0] in transcript) return ["transcript", ...way];
    throw new Error(`'${path}' names nothing in a run's state`);
  }

  const seen = new Map(); // path -> its writes in the whole file
  function watched(paths, at) {
    const now = stateAt(at).shown;
    return {
      version: at,
      watches: paths.slice(0, 20).map((path) => {
        let where;
        try {
          where = place(path);
        } catch (error) {
          return { path, error: error.message };
        }
        if (!seen.has(path)) seen.set(path, writes(where, head));
        const all = seen.get(path);
        const count = before(all, (one) => one.version <= at);
        const earlier = before(all, (one) => one.version < at);
        const value = valueAt(now, where);
        return {
          path, place: pointer(where), there: value !== undefined, value: cut(value ?? null, 1_000, 20), writes: count, total: all.length,
          last: all[count - 1] || null, previous: all[earlier - 1]?.version ?? null, next: all[count]?.version ?? null,
        };
      }),
    };
  }

  return (path, query = {}) => {
    const asked = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => [name, Array.isArray(value) ? value : String(value)]));
    const [what, , name = "", rest] = path.split("/");
    if (path === "recorded") return data;
    if (path === "runs") return { runs: [data.run], more: false, total: 1, host: false };
    if (path === "search") return searched(data, asked.text);
    if (what === "runs" && Object.hasOwn(answers, name)) return answers[name](asked, rest);
    throw new Error("this is not in the file: it has one run, and nothing beside its log");
  };
}

/** How many of the sorted `rows` come before the first that does not fit. */
function before(rows, fits) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fits(rows[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `root` with one step made. Only what is on the way is copied, once for all steps that share `own`. */
function applied(root, way, step, own) {
  const mine = (value) => {
    if (own.has(value)) return value;
    const copy = Array.isArray(value) ? value.slice() : { ...value };
    own.add(copy);
    return copy;
  };
  const top = mine(root);
  let place = top;
  for (const name of way.slice(0, -1)) place = place[name] = mine(place[name]);
  const last = way[way.length - 1];
  if (step.length === 1) Array.isArray(place) ? place.splice(Number(last), 1) : delete place[last];
  else if (step.length === 3 && Array.isArray(place)) place.splice(Number(last), 0, step[1]);
  else place[last] = step[1];
  return top;
}

function valueAt(value, way) {
  for (const name of way) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

function same(one, other) {
  if (one === other) return true;
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && same(one[name], other[name]));
}

// As projections/changes.py does it.
function* changed(was, is, path) {
  if (was === is) return;
  const [list, lists] = [Array.isArray(was), Array.isArray(is)];
  if (list && lists) yield* ofLists(was, is, path);
  else if (isObject(was) && isObject(is)) {
    for (const name of Object.keys(was)) if (!Object.hasOwn(is, name)) yield { op: "remove", path: path + pointer([name]), before: was[name], after: null };
    for (const [name, value] of Object.entries(is)) {
      if (Object.hasOwn(was, name)) yield* changed(was[name], value, path + pointer([name]));
      else yield { op: "add", path: path + pointer([name]), before: null, after: value };
    }
  } else if (!same(was, is)) yield { op: "replace", path, before: was, after: is };
}

function* ofLists(was, is, path) {
  const most = Math.min(was.length, is.length);
  let head = 0;
  while (head < most && same(was[head], is[head])) head += 1;
  let tail = 0;
  while (tail < most - head && same(was[was.length - 1 - tail], is[is.length - 1 - tail])) tail += 1;
  const old = was.slice(head, was.length - tail);
  const fresh = is.slice(head, is.length - tail);
  const both = Math.min(old.length, fresh.length);
  for (let index = 0; index < both; index += 1) {
    const place = `${path}/${head + index}`;
    if (isObject(old[index]) && isObject(fresh[index]) && NAMES.some((name) => old[index][name] !== fresh[index][name])) yield { op: "replace", path: place, before: old[index], after: fresh[index] };
    else yield* changed(old[index], fresh[index], place);
  }
  for (let index = old.length - 1; index >= both; index -= 1) yield { op: "remove", path: `${path}/${head + index}`, before: old[index], after: null };
  for (let index = both; index < fresh.length; index += 1) yield { op: "add", path: `${path}/${head + index}`, before: null, after: fresh[index] };
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// As debugger/shaping.py does it.
function cut(value, text = 4_000, items = 200) {
  if (typeof value === "string") {
    if (value.length <= text) return value;
    const letters = [...value];
    return letters.length <= text ? value : `${letters.slice(0, text).join("")}… (${(letters.length - text).toLocaleString("en")} more characters)`;
  }
  if (Array.isArray(value)) {
    const short = value.slice(0, items).map((one) => cut(one, text, items));
    return value.length <= items ? short : [...short, `… (${(value.length - items).toLocaleString("en")} more)`];
  }
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, cut(one, text, items)])) : value;
}

function told(messages, skip, limit) {
  return { total: messages.length, skip, messages: messages.slice(skip, skip + limit).map((one, index) => ({ index: skip + index, ...cut(one, 20_000) })) };
}

// As travel/searching.py does it.
function* texts(value, where) {
  if (typeof value === "string") yield [where, value];
  else if (value !== null && typeof value === "object") {
    for (const [name, one] of Object.entries(value)) if (!VOCABULARY.has(name)) yield* texts(one, where + pointer([name]));
  }
}

function hitIn(fact, text) {
  const wanted = new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "iu");
  for (const [where, said] of texts(fact, "")) {
    const hit = wanted.exec(said);
    if (hit) return { where, said, start: hit.index, end: hit.index + hit[0].length };
  }
  return null;
}

function searched(data, text) {
  const found = [];
  for (const event of data.events) {
    const hit = hitIn(event.fact, text);
    if (!hit) continue;
    const { where, said, start, end } = hit;
    found.push({
      position: event.position, run_id: event.run, version: event.version, at_us: data.moments[event.version - 1 - data.run.first].at_us, tag: event.tag, where,
      before: (start > AROUND ? "…" : "") + said.slice(Math.max(0, start - AROUND), start), hit: said.slice(start, end), after: said.slice(end, end + AROUND) + (said.length > end + AROUND ? "…" : ""),
    });
    if (found.length === 200) break;
  }
  return { found, more: found.length === 200 };
}
