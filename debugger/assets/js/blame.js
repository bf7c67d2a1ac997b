// Who wrote what stands at a place of the state, newest first; each write leads to its event.
import { html } from "./html.js";
import { Note, Trouble } from "./status.js";
import { useAnswer } from "./use.js";
import { count, many, plain } from "./words.js";

export function Blame({ id, path, at, seek, close, watched, watch }) {
  const { answer, problem, waiting } = useAnswer(`runs/${id}/blame`, { path, at });
  return html`<section class="blame" aria-label="Who wrote this">
    <div class="pane-head"><h2>Who wrote <span class="mono">${path}</span></h2><span class="space"></span><button type="button" aria-pressed=${String(watched)} onClick=${watch}>${watched ? "Watched" : "Watch"}</button><button type="button" onClick=${close}>Close</button></div>
    <${Trouble} problem=${problem} />
    ${waiting && html`<p class="quiet" role="status">reading the log …</p>`}
    ${answer && answer.writes.length === 0 && !problem && html`<${Note}>Nothing up to here: it is at its beginning.<//>`}
    <ol class=${`writes ${waiting ? "stale" : ""}`}>${(answer?.writes || []).map((one, index) => html`<li key=${one.version} class=${index === 0 ? "last-write" : ""}>
      <button type="button" class="link" data-jump=${one.version} onClick=${() => seek(one.version)}>event ${count(one.version)}</button> ${index === 0 && html`<span class="tag">last writer</span>`} <span class="mono">${one.tag}</span>${one.by && html` by <b>${one.by}</b>`}
      <div class="quiet">${one.title}</div>
      <div class="mono small">${plain(one.before).slice(0, 160)} <span aria-label="became">→</span> ${plain(one.after).slice(0, 160)}</div>
    </li>`)}</ol>
    ${answer && answer.total > answer.writes.length && html`<${Note}>and ${many(answer.total - answer.writes.length, "earlier write")}<//>`}
  </section>`;
}
