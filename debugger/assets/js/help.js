// The table of keys.
import { html, useEffect, useRef } from "./html.js";
import { KEYS } from "./keys.js";

export function Help({ close }) {
  const ref = useRef(null);
  useEffect(() => {
    ref.current.showModal();
  }, []);
  return html`<dialog ref=${ref} class="help" aria-labelledby="help-title" onClose=${close} onClick=${(event) => event.target === ref.current && ref.current.close()}>
    <h2 id="help-title">Keys</h2>
    <table><tbody>${KEYS.map(([keys, what]) => html`<tr key=${what}><td>${keys.map((key) => html`<kbd key=${key}>${key}</kbd> `)}</td><td>${what}</td></tr>`)}</tbody></table>
    <form method="dialog"><button autofocus>Close</button></form>
  </dialog>`;
}
