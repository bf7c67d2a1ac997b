// Search in what was said, in this run or in all.
import { html, useEffect, useState } from "./html.js";
import { ask, recorded } from "./api.js";
import { address } from "./place.js";
import { Note, Trouble } from "./status.js";
import { count, many, short } from "./words.js";

export function Search({ id, seek }) {
  const [text, setText] = useState("");
  const [everywhere, setEverywhere] = useState(false);
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (!text.trim()) return setFound(null);
    const stop = new AbortController();
    const timer = setTimeout(() => {
      ask("search", { text, run: everywhere ? undefined : id }, stop.signal).then((answer) => (setFound(answer), setProblem(null)), (error) => error.name !== "AbortError" && setProblem(error));
    }, 200);
    return () => (clearTimeout(timer), stop.abort());
  }, [text, everywhere, id]);
  return html`<form class="filter" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label class="grow"><span class="unseen">Search</span><input id="search-text" type="search" placeholder="anything that was said" value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      ${!recorded && html`<label><input type="checkbox" checked=${everywhere} onChange=${(event) => setEverywhere(event.target.checked)} /> in all runs</label>`}</form>
    <${Trouble} problem=${problem} />
    ${found && html`<p class="quiet" role="status">${found.more ? `the first ${count(found.found.length)} hits` : many(found.found.length, "hit")}</p>`}
    ${found && found.found.length === 0 && html`<${Note}>Nobody said that.<//>`}
    <ol class="found">${(found?.found || []).map((hit) => html`<li key=${hit.position}>
      ${hit.run_id === id ? html`<button type="button" class="link" data-jump=${hit.version} onClick=${() => seek(hit.version)}>event ${count(hit.version)}</button>` : html`<a href=${address(`run/${hit.run_id}`, { v: hit.version })}>${short(hit.run_id)}, event ${count(hit.version)}</a>`}
      <span class="mono quiet"> ${hit.tag} ${hit.where}</span><div>${hit.before}<mark>${hit.hit}</mark>${hit.after}</div></li>`)}</ol>`;
}
