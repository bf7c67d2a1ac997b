// The list of runs, newest first: narrowed by status, agent and text, and kept up to date while a host works.
import { html, useEffect, useRef, useState } from "./html.js";
import { ask, follow } from "./api.js";
import { useKeys } from "./keys.js";
import { address, go } from "./place.js";
import { Note, Status, Trouble } from "./status.js";
import { count, many, short, span, usd, when } from "./words.js";

const STATUSES = ["ok", "error", "timeout", "killed", "cancelled", "budget_exceeded", "dry_run", "running", "waiting", "unreadable"];
const PAGE = 50;

export function Runs({ params, help }) {
  const [rows, setRows] = useState(null);
  const [more, setMore] = useState(false);
  const [total, setTotal] = useState(0);
  const [problem, setProblem] = useState(null);
  const [news, setNews] = useState(0);
  const [picked, setPicked] = useState([]);
  const search = useRef(null);
  const { status, agent, text } = params;
  const query = { status, agent, text, limit: PAGE };

  useEffect(() => {
    document.title = "Runs · executus debugger";
    const stop = new AbortController();
    ask("runs", query, stop.signal).then(
      (answer) => {
        setRows(answer.runs);
        setMore(answer.more);
        setTotal(answer.total);
        setProblem(null);
      },
      (error) => error.name !== "AbortError" && setProblem(error),
    );
    return () => stop.abort();
  }, [status, agent, text, news]);

  useEffect(() => {
    let waiting = null;
    const told = () => {
      waiting = waiting || setTimeout(() => ((waiting = null), setNews((old) => old + 1)), 500);
    };
    const stop = follow("feed", "", { told, state: () => {} });
    return () => (stop(), clearTimeout(waiting));
  }, []);

  useKeys({ "/": () => search.current.focus(), "?": help });

  const narrow = (change) => go("", { ...params, ...change }, { replace: true });
  const older = () =>
    ask("runs", { ...query, before: rows[rows.length - 1].first_position }).then((answer) => {
      setRows([...rows, ...answer.runs]);
      setMore(answer.more);
    }, setProblem);
  const pick = (run) => setPicked((old) => (old.includes(run) ? old.filter((one) => one !== run) : [...old.slice(-1), run]));
  const agents = [...new Set((rows || []).map((one) => one.agent).filter(Boolean))].sort();
  if (agent && !agents.includes(agent)) agents.push(agent);

  return html`<header class="bar"><h1>Runs</h1><span class="quiet">${rows && many(total, "run")}</span>
      <span class="space"></span>
      ${picked.length === 1 && html`<span class="quiet" role="status">tick another run to compare the two</span>`}
      ${picked.length === 2 && html`<a class="button" href=${address("compare", { a: picked[0], b: picked[1] })}>Compare the two</a>`}
      <button type="button" onClick=${help} aria-label="Help: keys">?</button></header>
    <main class="runs">
      <form class="filter" role="search" onSubmit=${(event) => event.preventDefault()}>
        <label>Find <input ref=${search} type="search" value=${text || ""} placeholder="name, id, agent, last words" onInput=${(event) => narrow({ text: event.target.value })} /></label>
        <label>Status <select value=${status || ""} onChange=${(event) => narrow({ status: event.target.value })}><option value="">any</option>${STATUSES.map((one) => html`<option value=${one}>${one.replace("_", " ")}</option>`)}</select></label>
        <label>Agent <select value=${agent || ""} onChange=${(event) => narrow({ agent: event.target.value })}><option value="">any</option>${agents.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      </form>
      <${Trouble} problem=${problem} />
      ${rows && (rows.length ? html`<div class="wide"><table class="runs-table"><thead><tr><th>Compare</th><th>Run</th><th>Status</th><th>Agent</th><th class="number">Events</th><th class="number">Steps</th><th class="number">Tools</th><th class="number">Tokens</th><th class="number">Cost</th><th class="number">Took</th><th>Started</th></tr></thead>
        <tbody>${rows.map((row) => html`<${Row} key=${row.run} row=${row} picked=${picked.includes(row.run)} pick=${pick} />`)}</tbody></table></div>` : html`<${Note}>No run is like that.<//>`)}
      ${more && html`<button type="button" class="more" onClick=${older}>Older runs</button>`}
    </main>`;
}

function Row({ row, picked, pick }) {
  const name = row.name || short(row.run);
  return html`<tr class=${picked ? "picked" : ""}>
    <td><input type="checkbox" aria-label=${`Choose ${name} to compare`} checked=${picked} onChange=${() => pick(row.run)} /></td>
    <td class="run-cell"><a href=${address(`run/${row.run}`)}>${name}</a> <span class="quiet mono">${short(row.run)}</span>${row.parent && html` <span class="tag">child</span>`}
      <div class="says">${row.says}</div></td>
    <td><${Status} status=${row.status} />${row.doing && html`<div class="quiet">${row.doing}</div>`}</td>
    <td>${row.agent}</td>
    <td class="number">${count(row.events)}</td><td class="number">${count(row.steps)}</td><td class="number">${count(row.tool_calls)}</td>
    <td class="number">${count(row.input_tokens + row.output_tokens)}</td><td class="number">${usd(row.cost_usd)}</td>
    <td class="number nowrap">${row.elapsed_ms ? span(row.elapsed_ms) : ""}</td><td class="quiet nowrap">${when(row.started_at_us)}</td></tr>`;
}
