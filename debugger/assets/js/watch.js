// Values that one wants to see at every moment: what stands there now, who wrote it last, and where it was and will be another.
import { html } from "./html.js";
import { Act } from "./icons.js";
import { Trouble } from "./status.js";
import { useAnswer } from "./use.js";
import { count, many, plain } from "./words.js";

const MOST = 20;

/** The places that an address names, apart by commas; a comma within a place is "%2C". */
export function watchedOf(params) {
  return (params.watch || "").split(",").filter(Boolean).map((one) => one.replace(/%2C/g, ",")).slice(0, MOST);
}

function addressed(paths) {
  return paths.map((one) => one.replace(/,/g, "%2C")).join(",") || undefined;
}

/** The address with one place more, or one less. */
export function watching(params, path) {
  const paths = watchedOf(params);
  return { watch: addressed(paths.includes(path) ? paths.filter((one) => one !== path) : [...paths, path]) };
}

export function Watches({ id, at, head, paths, seen, adding, setAdding, seek, blame, turn, params }) {
  const { answer, problem, waiting } = useAnswer(paths.length ? `runs/${id}/watch` : null, { path: paths, at }, String(head));
  if (!paths.length && !adding) return null;
  const add = (event) => {
    event.preventDefault();
    const field = event.target.querySelector("input");
    const path = field.value.trim();
    if (path && !paths.includes(path)) turn(watching(params, path));
    field.value = "";
  };
  const found = new Map((paths.length ? answer?.watches || [] : []).map((one) => [one.path, one]));
  const { governed, ...state } = seen?.shown.state || {};
  return html`<section class="watches" aria-label="Watched values">
    <${Trouble} problem=${problem} />
    ${paths.length > 0 && html`<ul class=${waiting ? "stale" : ""}>${paths.map((path) => html`<${Watch} key=${path} path=${path} one=${found.get(path)} at=${at} seek=${seek} blame=${blame} remove=${() => turn(watching(params, path))} />`)}</ul>`}
    ${adding && html`<form class="filter" onSubmit=${add}>
      <label class="grow"><span class="unseen">Place to watch</span><input id="watch-path" list="watch-places" autocomplete="off" placeholder="a place: status, limits.max_steps, messages.3" /></label>
      <datalist id="watch-places">${[...Object.keys(state), ...Object.keys(governed || {}), "messages"].map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      <button disabled=${paths.length >= MOST}>Watch</button><button type="button" onClick=${() => setAdding(false)}>Done</button></form>`}
  </section>`;
}

function Watch({ path, one, at, seek, blame, remove }) {
  const here = one?.last?.version === at;
  return html`<li class=${here ? "changed" : ""}>
    <div class="watch-value">${here && html`<span class="mark" aria-hidden="true">●</span><span class="unseen">changed here: </span>`}<button type="button" class="link mono" title="who wrote this?" onClick=${() => blame(one?.place || path)}>${path}</button>
      ${one && !one.error && html`<span class="leaf">${one.there ? brief(one.value) : "nothing is there"}</span>`}</div>
    ${one?.error ? html`<div class="wrong-text">${one.error}</div>` : one && html`<div class="quiet watch-writer">${one.last
      ? html`<button type="button" class="link" onClick=${() => seek(one.last.version)}>event ${count(one.last.version)}</button> ${one.last.tag}${one.last.by && ` by ${one.last.by}`} · write ${count(one.writes)} of ${count(one.total)}`
      : `not written yet${one.total ? `; ${many(one.total, "write")} to come` : ""}`}</div>`}
    <div class="acts">
      <${Act} name="back" label=${`Previous change of ${path}`} disabled=${!one?.previous} press=${() => seek(one.previous)} />
      <${Act} name="next" label=${`Next change of ${path}`} disabled=${!one?.next} press=${() => seek(one.next)} />
      <${Act} name="away" label=${`Watch ${path} no more`} press=${remove} />
    </div>
  </li>`;
}

/** A value on few lines: what is large is read in the state. */
function brief(value) {
  return value !== null && typeof value === "object" ? JSON.stringify(value) : plain(value);
}
