// The conversation as it was at a moment: what the model had been, or would next be, shown. The newest is at the end.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { ask } from "./api.js";
import { Note } from "./status.js";
import { count, many, plain, spread, steps } from "./words.js";

const PIECE = 40;
const LONG = 1_200;
const ROLES = { system: "System", user: "User", assistant: "Model", tool: "Tool" };

export function Conversation({ id, at, seen, waiting, blame }) {
  const [earlier, setEarlier] = useState({ at: -1, messages: [] });
  const box = useRef(null);
  const shown = seen && seen.version === at ? seen : null;
  const newest = shown ? shown.messages : seen?.messages;
  useEffect(() => setEarlier({ at, messages: [] }), [id, at]);
  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [newest]);
  if (!newest) return html`<p class="quiet loading">Loading …</p>`;
  const old = earlier.at === at ? earlier.messages : [];
  const first = old.length ? old[0].index : newest.skip;
  const more = () => {
    const skip = Math.max(0, first - PIECE);
    ask(`runs/${id}/messages`, { at, skip, limit: first - skip }).then((answer) => setEarlier({ at, messages: [...answer.messages, ...old] }), () => {});
  };
  const fresh = new Set((seen.diff.changes || []).map((one) => steps(one.path)).filter((path) => path[1] === "messages").map((path) => Number(path[2])));
  const messages = [...old, ...newest.messages];
  return html`<div class=${`conversation ${waiting ? "stale" : ""}`} ref=${box} tabindex="0" role="log" aria-live="off" aria-label=${`Conversation at event ${at}`}>
    ${first > 0 && html`<button type="button" class="more" onClick=${more}>${many(Math.min(PIECE, first), "message")} before, of ${count(first)}</button>`}
    ${messages.length === 0 && html`<${Note}>Nothing has been said yet.<//>`}
    ${messages.map((one) => html`<${Message} key=${one.index} message=${one} fresh=${fresh.has(one.index)} blame=${blame} />`)}
    ${seen.heard.length > 0 && html`<p class="quiet note">Not yet read by the model:</p>`}
    ${seen.heard.map((one) => html`<${Message} key=${`heard-${one.index}`} message=${one} fresh=${true} />`)}
  </div>`;
}

function Message({ message, fresh, blame }) {
  return html`<article class=${`message role-${message.role} ${fresh ? "fresh" : ""}`}>
    <header><b>${ROLES[message.role] || message.role}</b> ${fresh && html`<span class="tag">changed</span>`}
      ${blame && html`<button type="button" class="link" onClick=${() => blame(`/transcript/messages/${message.index}`)}>who wrote this?</button>`}</header>
    ${message.parts.map((part, index) => html`<${Part} key=${index} part=${part} />`)}
  </article>`;
}

function Part({ part }) {
  switch (part.type) {
    case "text":
      return html`<${Words} text=${part.text} />`;
    case "thinking":
      return html`<details class="part thinking"><summary>thinking</summary><${Words} text=${part.text} /></details>`;
    case "tool-call":
      return html`<div class="part call"><span class="call-name">calls <b>${part.name}</b></span><pre>${spread(part.arguments || "{}")}</pre></div>`;
    case "tool-result":
      return html`<div class=${`part result ${part.is_error ? "wrong" : ""}`}><span class="call-name">${part.is_error ? "error from" : "answer of"} <b>${part.name || "tool"}</b></span><${Words} text=${spread(part.text)} mono=${true} /></div>`;
    case "image":
      return html`<p class="part quiet">image (${part.media_type}${part.bytes ? `, ${count(part.bytes)} bytes` : ""}${part.url ? `, ${part.url}` : ""})</p>`;
    default:
      return html`<pre class="part">${plain(part)}</pre>`;
  }
}

function Words({ text, mono }) {
  const [whole, setWhole] = useState(false);
  const long = text.length > LONG;
  return html`<div class=${`words ${mono ? "mono" : ""}`}>${long && !whole ? `${text.slice(0, LONG)} …` : text}${long && html` <button type="button" class="link" onClick=${() => setWhole(!whole)}>${whole ? "less" : `all ${count(text.length)} characters`}</button>`}</div>`;
}
