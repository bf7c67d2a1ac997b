// The state as a tree. What changed since the event before, or since the pin, is marked, and so is the way to it.
import { html, useMemo, useState } from "./html.js";
import { plain, pointer } from "./words.js";

export function StateTree({ seen, blame, pin }) {
  const [all, setAll] = useState(false);
  const marks = useMemo(() => marked(seen?.diff.changes || []), [seen]);
  if (!seen) return html`<p class="quiet loading">Loading …</p>`;
  const { state, ...rest } = seen.shown;
  return html`<div class="pane-head"><h2>State at event ${seen.version}</h2><span class="quiet">● changed since ${pin === null ? "the event before" : "the pin"}</span>
      <label><input type="checkbox" checked=${all} onChange=${(event) => setAll(event.target.checked)} /> empty fields</label></div>
    <ul class="tree" aria-label="State">
      <${Branch} value=${state} path=${["state"]} name="state" marks=${marks} blame=${blame} all=${all} open=${true} />
      <${Branch} value=${rest.transcript} path=${["transcript"]} name="transcript" marks=${marks} blame=${blame} all=${all} open=${false} />
    </ul>`;
}

function marked(changes) {
  const exact = new Set();
  const above = new Set();
  for (const { path } of changes) {
    exact.add(path);
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) above.add(path.slice(0, end));
  }
  return { exact, above };
}

function empty(value) {
  if (value === null || value === "" || value === false || value === 0) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function Branch({ value, path, name, marks, blame, all, open }) {
  const at = pointer(path);
  const changed = marks.exact.has(at);
  const below = marks.above.has(at);
  const [opened, setOpened] = useState(null);
  const shown = opened ?? (open || below);
  const mark = changed ? html`<span class="mark" aria-hidden="true">●</span><span class="unseen">changed: </span>` : null;
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value).filter(([key, one]) => all || !empty(one) || marks.exact.has(pointer([...path, key])));
    const many = Array.isArray(value) ? `[${value.length}]` : `{${Object.keys(value).length}}`;
    return html`<li class=${changed || below ? "changed" : ""}>
      <button type="button" class="twig" onClick=${() => setOpened(!shown)} aria-expanded=${String(shown)} aria-label=${`${shown ? "close" : "open"} ${name}`}><span class=${`twig-sign ${shown ? "down" : ""}`} aria-hidden="true"></span></button>${mark}<button type="button" class="link mono" title="who wrote this?" onClick=${() => blame(at)}>${name}</button> <span class="quiet mono">${many}</span>
      ${shown && html`<ul>${entries.map(([key, one]) => html`<${Branch} key=${key} value=${one} path=${[...path, key]} name=${key} marks=${marks} blame=${blame} all=${all} open=${path.length < 2 && key === "governed" ? false : path.length < 2 && Object.keys(one || {}).length < 8} />`)}</ul>`}
    </li>`;
  }
  return html`<li class=${changed ? "changed" : ""}>${mark}<button type="button" class="link mono" title="who wrote this?" onClick=${() => blame(at)}>${name}</button> <span class=${`leaf leaf-${value === null ? "none" : typeof value}`}>${plain(value)}</span></li>`;
}
