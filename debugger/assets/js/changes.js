// What changed: from the event before to this one, or from the pinned moment. Each place leads to who wrote it.
import { html } from "./html.js";
import { Note } from "./status.js";
import { count, many, plain } from "./words.js";

const SIGNS = { add: "+", remove: "−", replace: "±" };
const DULL = new Set(["/version", "/elapsed_ms"]);

export function Changes({ at, pin, seen, seek, turn, blame }) {
  if (!seen) return html`<p class="quiet loading">Loading …</p>`;
  const { diff, against } = seen;
  const shown = diff.changes.filter((one) => !DULL.has(one.path));
  return html`<div class="pane-head"><h2>${seen.version === 0 && pin === null ? "Before the first event (0)" : html`Event ${count(seen.version)} against ${against === 0 && seen.version > 1 ? "the beginning" : html`<button type="button" class="link" onClick=${() => seek(against)}>${pin === against ? "pinned " : ""}${count(against)}</button>`}`}</h2>
      ${pin !== null && html`<button type="button" onClick=${() => turn({ pin: undefined })}>Let go of the pin</button>`}</div>
    ${seen.event && html`<p class="headline"><span class="mono">${seen.event.tag}</span></p>`}
    ${shown.length === 0 && html`<${Note}>${seen.version === 0 && pin === null ? "Nothing has happened yet." : seen.version === against ? (pin === null ? "What is before this is not in the file." : "This is the pinned moment.") : "Nothing but the clock changed."}<//>`}
    <ul class="changes">${shown.map((one) => html`<${Change} key=${`${one.op} ${one.path}`} change=${one} blame=${blame} />`)}</ul>
    ${diff.total > diff.changes.length && html`<${Note}>and ${many(diff.total - diff.changes.length, "change")} more<//>`}`;
}

export function Change({ change, blame }) {
  const { op, path, before, after } = change;
  return html`<li class=${`change change-${op}`}>
    <div class="change-path"><span class="sign" aria-hidden="true">${SIGNS[op]}</span><span class="unseen">${op}</span>
      ${blame ? html`<button type="button" class="link mono" title="who wrote this?" onClick=${() => blame(path)}>${path}</button>` : html`<span class="mono">${path || "/"}</span>`}</div>
    ${op !== "add" && html`<${Value} kind="before" value=${before} />`}
    ${op !== "remove" && html`<${Value} kind="after" value=${after} />`}
  </li>`;
}

function Value({ kind, value }) {
  const message = Boolean(value && value.role && Array.isArray(value.parts));
  const text = message ? value.parts.map((part) => part.text ?? (part.name ? `${part.name}(${part.arguments || ""})` : part.type)).join("\n") : plain(value);
  return html`<pre class=${`value ${kind}`}><span class="sign" aria-hidden="true">${kind === "before" ? "−" : "+"}</span><span class="unseen">${kind}: </span>${message && html`<b>${value.role}: </b>`}${text}</pre>`;
}
