// One run: a timeline above, the log in three depths on one side, and what is to be known of this moment on the other.
import { html, useEffect, useMemo, useRef, useState } from "./html.js";
import { ask, download, recorded } from "./api.js";
import { Conversation } from "./conversation.js";
import { Filter, filterOf } from "./filter.js";
import { useKeys } from "./keys.js";
import { Log } from "./log.js";
import { Orders } from "./orders.js";
import { Panes, PANES } from "./panes.js";
import { address, go } from "./place.js";
import { Status, Trouble } from "./status.js";
import { Tabs } from "./tabs.js";
import { Timeline } from "./timeline.js";
import { useAnswer, useNewest } from "./use.js";
import { useFeed } from "./live.js";
import { count, many, milliseconds, short, span, usd } from "./words.js";

const HALVES = [["log", "Log"], ["side", "Moment"]];
const WITHHELD = {
  locked: "What was said in this run is sealed, and the key was not there when it was read: only what stays readable is shown.",
  erased: "What was said in this run has been erased for ever: only what stays readable is shown.",
};
const DEPTHS = [["conversation", "Conversation"], ["groups", "Groups"], ["events", "Events"]];

export function Run({ id, params, help }) {
  const { run, problem: unknown, head, lost } = useFeed(id);
  if (unknown) return html`<main class="alone"><${Trouble} problem=${unknown} /><a href="#/">All runs</a></main>`;
  if (!run) return html`<p class="quiet loading">Loading …</p>`;
  return html`<${Opened} run=${run} head=${head} lost=${lost} params=${params} help=${help} />`;
}

function Opened({ run, head, lost, params, help }) {
  const id = run.run;
  const first = run.first || 0; // a file may begin later than the run
  const within = (version) => Math.max(first, Math.min(head, Number(version) || 0));
  const following = params.v === undefined;
  const at = following ? head : within(params.v);
  const pin = params.pin === undefined ? null : within(params.pin);
  const depth = DEPTHS.some(([name]) => name === params.depth) ? params.depth : "events";
  const pane = PANES.some(([name]) => name === params.pane) ? params.pane : "changes";
  const filter = useMemo(() => filterOf(params), [JSON.stringify(params)]);
  const [place, setPlace] = useState("log");
  const [said, setSaid] = useState("");
  const [adding, setAdding] = useState(false); // a value to watch
  const asking = useRef(null);
  const newest = useNewest({ params, at, head });

  const turn = (change) => go(`run/${id}`, { ...newest.current.params, ...change }, { replace: true });
  const seek = (version) => turn({ v: Math.max(first, Math.min(newest.current.head, version)) });
  const follow = () => turn({ v: undefined });
  const step = async (by) => {
    if (!Object.keys(filter).length || depth === "conversation") return seek(newest.current.at + by);
    const { at: now } = newest.current;
    const path = `runs/${id}/moments`;
    const answer = await ask(path, { ...filter, around: by > 0 ? now + 1 : now, limit: 1 });
    const row = by > 0 ? answer.row : answer.row - 1;
    if (row < 0 || row >= answer.total) return setSaid("Nothing more that matches.");
    const found = await ask(path, { ...filter, skip: row, limit: 1 });
    return seek(found.moments[0].version);
  };
  const jump = async (what, back) => {
    const { version } = await ask(`runs/${id}/next`, { what, after: newest.current.at, back: back ? 1 : "" });
    const name = { error: "error", critic: "act of the critic", limit: "change of a limit" }[what];
    setSaid(version ? `Event ${version}: ${back ? "previous" : "next"} ${name}` : `No ${name} ${back ? "before" : "after"} this.`);
    if (version) seek(version);
  };
  const goTo = async (text) => {
    if (/^\s*[\d,]+\s*$/.test(text)) return seek(Number(text.replace(/,/g, "")));
    const ms = milliseconds(text);
    if (ms === null) return setSaid("Expected an event, or a time such as 90s, 2 m 5 s or 1:30.");
    const { version } = await ask(`runs/${id}/when`, { elapsed_ms: Math.round(ms) });
    setSaid(`Event ${version}: as the run's clock showed ${span(ms)}`);
    return seek(version);
  };
  const show = (name) => turn({ pane: name });

  const moment = useAnswer(`runs/${id}/at/${at}`, { against: pin ?? undefined }, run.over ? "" : "live");
  const seen = moment.answer;
  const line = useAnswer(`runs/${id}/line`, { buckets: 500 }, String(stretch(head)));

  useEffect(() => {
    document.title = `${run.name || short(id)} · ${at} · executus debugger`;
  }, [at, run.name]);
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(""), 4_000);
    return () => clearTimeout(timer);
  }, [said]);

  useEffect(() => {
    if (params.path || params.pane) setPlace("side"); // where there is room for one half only, the one that was asked for
  }, [params.path, params.pane]);

  const [playing, setPlaying] = useState(false);
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    Home: () => seek(first),
    End: follow,
    " ": () => setPlaying((old) => !old),
    e: () => jump("error"),
    E: () => jump("error", true),
    c: () => jump("critic"),
    C: () => jump("critic", true),
    l: () => jump("limit"),
    L: () => jump("limit", true),
    1: () => turn({ depth: "conversation" }),
    2: () => turn({ depth: "groups" }),
    3: () => turn({ depth: undefined }),
    d: () => turn({ pane: undefined, path: undefined }),
    s: () => show("state"),
    v: () => show("event"),
    f: () => show("family"),
    o: () => show("overview"),
    g: () => run.live && show("fork"),
    w: () => {
      setPlace("side");
      setAdding(true);
      setTimeout(() => document.getElementById("watch-path")?.focus(), 30);
    },
    p: () => turn({ pin: pin === null ? at : undefined }),
    ":": () => document.getElementById("version")?.select(),
    "/": () => {
      show("search");
      setTimeout(() => document.getElementById("search-text")?.focus(), 30);
    },
    "?": help,
    Escape: () => turn({ path: undefined }),
  });

  const state = seen?.shown.state;
  return html`<header class="bar">
      ${!recorded && html`<a href="#/" class="button">Runs</a>`}
      <h1 title=${id}>${run.name || short(id)} <span class="quiet mono">${short(id)}</span></h1>
      <${Status} status=${run.status} />
      ${lost && html`<span class="tag warn" role="status">connection lost, trying again</span>`}
      <span class="space"></span>
      ${state && html`<span class="quiet sums" aria-label="so far, at this moment">step ${count(state.step)} · ${many(state.tool_calls, "call")} · ${count(state.input_tokens + state.output_tokens)} tokens${state.cost_usd ? ` · ${usd(state.cost_usd)}` : ""}${seen.shown.elapsed_ms ? ` · ${span(seen.shown.elapsed_ms)}` : ""}</span>`}
      <button type="button" onClick=${() => download(`runs/${id}/export.jsonl`, `${run.name || id}.jsonl`)}>Export</button>
      <button type="button" onClick=${help} aria-label="Help: keys">?</button>
    </header>
    ${recorded && html`<p class="kept quiet note">A file to read: events ${count(first + 1)} to ${count(head)}${first || head < run.events ? ` of ${count(run.events)}` : ""} of one run, as they stood when it was made. Artifacts and other runs are not in it.</p>`}
    ${WITHHELD[seen?.shown.withheld] && html`<p class="kept withheld note" role="note">${WITHHELD[seen.shown.withheld]}</p>`}
    <${Timeline} line=${line.answer} first=${first} head=${head} at=${at} pin=${pin} following=${following} over=${run.over} seek=${seek} goTo=${goTo} follow=${follow} step=${step} jump=${jump} playing=${playing} setPlaying=${setPlaying} turnPin=${() => turn({ pin: pin === null ? at : undefined })} />
    ${run.live && html`<${Orders} run=${run} at=${at} state=${state} say=${setSaid} />`}
    <p class="unseen" role="status" aria-live="polite">${said}</p>
    ${said && html`<div class="toast" aria-hidden="true">${said}</div>`}
    <main class=${`two ${place === "side" ? "show-side" : ""}`}>
      <div class="switch"><${Tabs} id="half" label="Halves" tabs=${HALVES} chosen=${place} choose=${setPlace} /></div>
      <section class="half" aria-label="Log">
        <div class="tools">
          <${Tabs} id="depth" label="Depth" tabs=${DEPTHS} chosen=${depth} choose=${(name) => turn({ depth: name === "events" ? undefined : name })} controls="depth-panel" />
          ${depth !== "conversation" && html`<${Filter} filter=${filter} line=${line.answer} turn=${turn} />`}
        </div>
        <div class="depth" id="depth-panel" role="tabpanel" aria-labelledby=${`depth-${depth}`}>
        ${depth === "conversation"
          ? html`<${Conversation} id=${id} at=${at} seen=${seen} waiting=${moment.waiting} blame=${(path) => turn({ path, pane: undefined })} />`
          : html`<${Log} id=${id} depth=${depth} filter=${filter} first=${first} head=${head} at=${at} pin=${pin} seek=${seek} following=${following} follow=${follow} turn=${turn} />`}
        </div>
      </section>
      <section class="half" aria-label="This moment">
        <${Trouble} problem=${moment.problem} />
        <${Panes} pane=${pane} id=${id} run=${run} at=${at} pin=${pin} seen=${seen} waiting=${moment.waiting} line=${line.answer} path=${params.path} params=${params} head=${head} adding=${adding} setAdding=${setAdding} turn=${turn} seek=${seek} />
      </section>
    </main>`;
}

/** Grows with the head, but only ever so often for long runs: the timeline of 100,000 events need not be redrawn for one. */
function stretch(head) {
  return head < 2_000 ? head : Math.floor(head / 50);
}
