// The event itself, whole, with its envelope; an artifact that it made opens in place.
import { html, useEffect, useState } from "./html.js";
import { blob, download, recorded } from "./api.js";
import { Note, Trouble } from "./status.js";
import { useAnswer } from "./use.js";
import { count, span } from "./words.js";

const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

export function EventPane({ id, at }) {
  const { answer, problem, waiting } = useAnswer(at ? `runs/${id}/events/${at}` : null);
  if (!at) return html`<${Note}>Before the first event there is nothing.<//>`;
  if (problem) return html`<${Trouble} problem=${problem} />`;
  if (!answer) return html`<p class="quiet loading">Loading …</p>`;
  const { fact } = answer;
  return html`<div class=${waiting ? "stale" : ""}>
    <div class="pane-head"><h2><span class="mono">${answer.tag}</span> · event ${count(answer.version)}</h2></div>
    <dl class="facts"><dt>at</dt><dd>${answer.at}</dd><dt>run's clock</dt><dd>${span(answer.elapsed_s * 1_000)}</dd><dt>position</dt><dd>${count(answer.position)}</dd>
      ${answer.cause && html`<dt>cause</dt><dd>${answer.cause}</dd>`}<dt>content</dt><dd>${answer.content}</dd><dt>hash</dt><dd class="mono">${answer.hash.slice(0, 24)}…</dd></dl>
    ${answer.tag === "artifact-stored" && html`<${Artifact} key=${fact.sha256} fact=${fact} />`}
    <h3>Fact</h3><pre class="value">${JSON.stringify(fact, null, 2)}</pre></div>`;
}

function Artifact({ fact }) {
  const [shown, setShown] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => () => shown?.url && URL.revokeObjectURL(shown.url), [shown]);
  const open = async () => {
    try {
      const content = await blob(`artifacts/${fact.sha256}`);
      if (PICTURES.has(fact.media_type)) setShown({ url: URL.createObjectURL(new Blob([content], { type: fact.media_type })) });
      else setShown({ text: (await content.slice(0, 200_000).text()) });
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<section aria-label="Artifact"><h3>${fact.name} <span class="quiet">${fact.media_type}, ${count(fact.size)} bytes</span></h3>
    ${recorded ? html`<${Note}>Its bytes are not in this file. Their SHA-256 is <span class="mono">${fact.sha256}</span>.<//>` : html`<button type="button" onClick=${open}>Open here</button> <button type="button" onClick=${() => download(`artifacts/${fact.sha256}`, fact.name).catch(setProblem)}>Save</button>`}
    <${Trouble} problem=${problem} />
    ${shown?.url && html`<img src=${shown.url} alt=${fact.name} class="picture" />`}
    ${shown?.text !== undefined && html`<pre class="value">${shown.text}</pre>`}</section>`;
}
