// A row of tabs: one is chosen, the arrow keys move among them, and Tab leads past the others.
import { html } from "./html.js";

export function Tabs({ label, tabs, chosen, choose, controls, id }) {
  const pressed = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const place = (tabs.findIndex(([name]) => name === chosen) + by + tabs.length) % tabs.length;
    choose(tabs[place][0]);
    event.currentTarget.children[place].focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${pressed}>
    ${tabs.map(([name, text]) => html`<button key=${name} type="button" id=${`${id}-${name}`} role="tab" aria-selected=${String(name === chosen)} aria-controls=${controls} tabindex=${name === chosen ? 0 : -1} onClick=${() => choose(name)}>${text}</button>`)}
  </div>`;
}
