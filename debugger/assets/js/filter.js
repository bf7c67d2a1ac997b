// What of the log is listed: by lane, kind of fact, tool, text, or only what went wrong. All of it stands in the address.
import { html, useEffect, useRef } from "./html.js";

const NAMES = ["lane", "tag", "failed", "tool", "text", "least"];

export function filterOf(params) {
  return Object.fromEntries(NAMES.filter((name) => params[name]).map((name) => [name, params[name]]));
}

export function Filter({ filter, line, turn }) {
  const timer = useRef(null); // a long run is searched for each text: not for each letter of it
  useEffect(() => () => clearTimeout(timer.current), []);
  const say = (event) => {
    const text = event.target.value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => turn({ text: text || undefined }), 250);
  };
  const choose = (name) => (event) => turn({ [name]: event.target.value || undefined });
  const including = (known, chosen) => (chosen && !known.includes(chosen) ? [...known, chosen] : known);
  const tools = including(line?.tools.map((one) => one.name) || [], filter.tool);
  const kinds = including(line?.tags || [], filter.tag);
  const lanes = including(Object.keys(line?.lanes || {}), filter.lane);
  return html`<form class="filter small" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
    <input type="search" aria-label="Only events that say" placeholder="says …" value=${filter.text || ""} onInput=${say} />
    <select aria-label="Lane" value=${filter.lane || ""} onChange=${choose("lane")}><option value="">all lanes</option>${lanes.map((one) => html`<option value=${one}>${one}</option>`)}</select>
    <select aria-label="Kind of fact" value=${filter.tag || ""} onChange=${choose("tag")}><option value="">all kinds</option>${kinds.map((one) => html`<option value=${one}>${one}</option>`)}</select>
    <select aria-label="Tool" value=${filter.tool || ""} onChange=${choose("tool")}><option value="">all tools</option>${tools.map((one) => html`<option value=${one}>${one}</option>`)}</select>
    <label><input type="checkbox" checked=${filter.failed === "1"} onChange=${(event) => turn({ failed: event.target.checked ? 1 : undefined })} /> failed</label>
    <label><input type="checkbox" checked=${filter.least === "1"} onChange=${(event) => turn({ least: event.target.checked ? 1 : undefined })} /> no minor</label>
    ${Object.keys(filter).length > 0 && html`<button type="button" onClick=${() => turn(Object.fromEntries(NAMES.map((name) => [name, undefined])))}>Clear</button>`}
  </form>`;
}
