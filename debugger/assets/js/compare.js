// Two runs side by side, from where they part.
import { html, useEffect } from "./html.js";
import { Change } from "./changes.js";
import { Icon } from "./icons.js";
import { useKeys } from "./keys.js";
import { address } from "./place.js";
import { Note, Status, Trouble } from "./status.js";
import { useAnswer } from "./use.js";
import { count, many, short, span } from "./words.js";

export function Compare({ params, help }) {
  const { a, b } = params;
  const { answer, problem } = useAnswer("compare", { a, b });
  useEffect(() => {
    document.title = "Two runs · executus debugger";
  }, []);
  useKeys({ "?": help });
  return html`<header class="bar"><a href="#/" class="button">Runs</a><h1>Two runs</h1><span class="space"></span><button type="button" onClick=${help} aria-label="Help: keys">?</button></header>
    <main class="compare">
      <${Trouble} problem=${problem} />
      ${!answer && !problem && html`<p class="quiet loading">Reading both …</p>`}
      ${answer && html`<p class="headline" role="status">${verdict(answer)}</p>
        ${answer.given.length > 0 && html`<details open=${answer.given.length < 8}><summary>${many(answer.given.length, "difference")} in how they were started</summary><ul class="changes">${answer.given.map((one) => html`<${Change} key=${one.path} change=${one} />`)}</ul></details>`}
        ${answer.changes.length > 0 && html`<section aria-label="The first difference"><h2>The first difference</h2><ul class="changes">${answer.changes.map((one) => html`<${Change} key=${one.path} change=${one} />`)}</ul></section>`}
        <div class="sides"><${Side} id=${a} at=${answer.a} /><${Side} id=${b} at=${answer.b} /></div>`}
    </main>`;
}

function verdict(found) {
  const from = found.source ? `Both go on from run ${short(found.source)} up to event ${found.common}. ` : "";
  if (found.same) return `${from}Nothing that matters is different.`;
  const alike = many(found.alike, "fact");
  if (!found.a && !found.b) return `${from}They were started differently, and did the same: ${alike}.`;
  const begun = found.given.length > 0 ? `${from}They were started differently. ` : from;
  const since = found.source ? "They agree" : "After the start they agree";
  if (!found.a || !found.b) return `${begun}${since} in ${alike}; then the ${found.a ? "second" : "first"} has no more.`;
  const calls = found.calls > 0 ? ` Their first ${many(found.calls, "tool call")} ${found.calls === 1 ? "is" : "are"} the same.` : "";
  return `${begun}${since} in ${alike}, and part at event ${found.a.version} and event ${found.b.version}.${calls}`;
}

function Side({ id, at }) {
  const run = useAnswer(`runs/${id}`).answer;
  const version = at?.version || run?.head || 1;
  const { answer } = useAnswer(run ? `runs/${id}/moments` : null, { around: version, limit: 60 });
  return html`<section class="side" aria-label=${`Run ${short(id)}`}>
    <h2><a href=${address(`run/${id}`, { v: version })}>${run?.name || short(id)}</a> <span class="quiet mono">${short(id)}</span> ${run && html`<${Status} status=${run.status} />`}</h2>
    ${run && html`<p class="quiet">${run.agent} · ${many(run.events, "event")} · ${many(run.steps, "step")} · ${count(run.input_tokens + run.output_tokens)} tokens${run.elapsed_ms ? ` · ${span(run.elapsed_ms)}` : ""}</p>`}
    <ol class="side-list">${(answer?.moments || []).map((one) => html`<li key=${one.version} class=${`row lane-${one.lane} ${at && one.version === at.version ? "here" : ""} ${at && one.version < at.version ? "" : "after"} ${one.wrong ? "wrong" : ""}`}>
      <a href=${address(`run/${id}`, { v: one.version })} class="row-number">${count(one.version)}</a><span class="row-kind">${one.wrong && html`<${Icon} name="wrong" />`}${one.tag}</span><span class="row-title">${one.title}</span></li>`)}</ol>
    ${!at && run && html`<${Note}>It has no more.<//>`}</section>`;
}
