// The run at one glance: who, under which limits, what its tools did, where it went in circles.
import { html } from "./html.js";
import { recorded } from "./api.js";
import { address } from "./place.js";
import { Status } from "./status.js";
import { count, many, short, span, usd, when } from "./words.js";

export function Overview({ run, seen, line, seek, turn }) {
  return html`<div class="pane-head"><h2>${run.name || short(run.run)}</h2><${Status} status=${run.status} /></div>
    <dl class="facts"><dt>agent</dt><dd>${run.agent || "none"}</dd>${run.model && html`<dt>model</dt><dd>${run.model}</dd>`}${run.caller && html`<dt>caller</dt><dd>${run.caller}</dd>`}
      <dt>started</dt><dd>${when(run.started_at_us)}</dd>${run.elapsed_ms > 0 && html`<dt>took</dt><dd>${span(run.elapsed_ms)}</dd>`}<dt>events</dt><dd>${count(run.events)}</dd>
      <dt>tokens</dt><dd>${count(run.input_tokens)} in, ${count(run.output_tokens)} out ${usd(run.cost_usd)}</dd>
      ${run.parent && html`<dt>child of</dt><dd>${recorded ? html`<span class="mono">${short(run.parent)}</span>` : html`<a href=${address(`run/${run.parent}`)} class="mono">${short(run.parent)}</a>`}</dd>`}
      ${run.imported_from && html`<dt>imported from</dt><dd>${run.imported_from}</dd>`}
      ${run.says && html`<dt>last words</dt><dd>${run.says}</dd>`}<dt>id</dt><dd class="mono">${run.run}</dd></dl>
    ${seen && html`<h3>Limits at event ${count(seen.version)}</h3><ul class="bounds">${seen.bounds.map((bound) => html`<${Bound} key=${`${bound.phase}${bound.measure}`} bound=${bound} />`)}</ul>`}
    ${line?.tools.length > 0 && html`<h3>Tools and children</h3><table class="plain"><thead><tr><th>Name</th><th class="number">Calls</th><th class="number">Went wrong</th><th class="number">Time</th><th></th></tr></thead><tbody>${line.tools.map((tool) => html`<tr key=${tool.name}><td class="mono">${tool.name}</td><td class="number">${count(tool.calls)}</td><td class=${`number ${tool.wrong ? "wrong-text" : ""}`}>${count(tool.wrong)}</td><td class="number">${span(tool.took_ms)}</td><td><button type="button" class="link" onClick=${() => turn({ tool: tool.name, depth: undefined })}>list</button></td></tr>`)}</tbody></table>`}
    ${line?.loops.length > 0 && html`<h3>Calls that were repeated</h3><ul class="loops">${line.loops.map((loop) => html`<li key=${`${loop.name}${loop.arguments}`}><b>${count(loop.times)} times</b> <span class="mono">${loop.name} ${loop.arguments}</span> <button type="button" class="link" onClick=${() => seek(loop.first)}>first</button> <button type="button" class="link" onClick=${() => seek(loop.last)}>last</button></li>`)}</ul>`}
    ${line && html`<p class="quiet">${many(line.wrong, "event")} went wrong.</p>`}`;
}

const UNITS = { steps: "steps", tool_calls: "tool calls", tokens: "tokens", cost_usd: "dollars", seconds: "seconds" };

function Bound({ bound }) {
  const part = bound.limit ? Math.min(1, bound.used / bound.limit) : 1;
  const level = part > 0.9 ? "high" : part > 0.7 ? "middle" : "low";
  const number = (value) => (bound.measure === "cost_usd" ? value.toFixed(4) : count(Math.round(value * 10) / 10));
  return html`<li><span class="bound-name">${UNITS[bound.measure]}${bound.phase && ` in ${bound.phase}`}</span>
    <span class="bound-bar" aria-hidden="true"><span class=${`bound-used ${level}`} style=${{ width: `${part * 100}%` }}></span></span>
    <span class="nowrap">${number(bound.used)} of ${number(bound.limit)} (${Math.round(part * 100)} %)</span></li>`;
}
