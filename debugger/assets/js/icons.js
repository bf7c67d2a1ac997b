// Small pictures, drawn here so that no font needs to have them. Each stands beside or behind a name for those who hear the page.
import { html } from "./html.js";

const PATHS = {
  first: "M4 3v10M13 3 6 8l7 5z",
  back: "M11 3 4 8l7 5z",
  play: "M5 3l8 5-8 5z",
  pause: "M5 3v10M11 3v10",
  next: "M5 3l7 5-7 5z",
  last: "M12 3v10M3 3l7 5-7 5z",
  away: "M4 4l8 8M12 4l-8 8",
  pin: "M8 14V9M4 9h8L10.500 6V2h-5v4z",
  wrong: "M8 2l6.500 12h-13zM8 6.500v3.500M8 12v.500",
};

export function Icon({ name }) {
  return html`<svg class=${`icon ${name === "wrong" ? "icon-line" : ""}`} viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}

export function Act({ name, label, press, on, disabled }) {
  return html`<button class="act" type="button" title=${label} aria-label=${label} aria-pressed=${on === undefined ? undefined : String(on)} disabled=${disabled} onClick=${press}><${Icon} name=${name} /></button>`;
}
