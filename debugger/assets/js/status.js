// How a run stands, as a word with a colour, never a colour alone.
import { html } from "./html.js";

export function Status({ status }) {
  return html`<span class=${`status status-${status}`}>${(status || "").replace("_", " ")}</span>`;
}

export function Note({ children }) {
  return html`<p class="quiet note">${children}</p>`;
}

export function Trouble({ problem }) {
  return problem ? html`<p class="problem" role="alert">${problem.message}</p>` : null;
}
