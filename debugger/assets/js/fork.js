// Go on from this moment in a new run, with something changed. What is inherited is not paid for again.
import { html, useState } from "./html.js";
import { send } from "./api.js";
import { address } from "./place.js";
import { Note, Trouble } from "./status.js";
import { count, many, usd } from "./words.js";

export function Fork({ id, run, at, seen }) {
  const [problem, setProblem] = useState(null);
  const [made, setMade] = useState(null);
  const [busy, setBusy] = useState(false);
  const [edited, setEdited] = useState("");
  if (!run.live) return html`<${Note}>There is no live host behind this page: it can only be read. In code: Runtime.fork.<//>`;
  if (!seen) return html`<p class="quiet loading">Loading …</p>`;
  if (!at) return html`<${Note}>Before the first event there is nothing to go on from.<//>`;
  const { state } = seen.shown;
  const messages = seen.messages.messages.filter((one) => one.parts.some((part) => part.type === "text"));
  const calls = state.asked.map((call, index) => [`${state.step}.${index}`, call.name]);
  const fork = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    setBusy(true);
    setProblem(null);
    try {
      setMade(await send(`runs/${id}/fork`, wanted(given, at)));
    } catch (error) {
      setProblem(error);
    } finally {
      setBusy(false);
    }
  };
  return html`<div class="pane-head"><h2>Fork from event ${count(at)}</h2></div>
    <p>Inherited, and not paid again: ${many(seen.messages.total, "message")}, ${many(state.step, "step")}, ${many(state.tool_calls, "tool call")}, ${count(state.input_tokens + state.output_tokens)} tokens${state.cost_usd ? ` (${usd(state.cost_usd)})` : ""}. No call that has its result is made again. Every model call after this is paid for, except those that the recording answers.</p>
    <form class="fork" onSubmit=${fork}>
      <label>Say next <textarea name="say" rows="2" placeholder="nothing"></textarea></label>
      ${messages.length > 0 && html`<fieldset><legend>Another wording of a message</legend>
        <select name="message" aria-label="Message" value=${edited} onChange=${(event) => setEdited(event.target.value)}><option value="">all as they were</option>${messages.map((one) => html`<option value=${one.index}>${one.index}: ${one.role}, ${wording(one).slice(0, 60)}</option>`)}</select>
        ${edited !== "" && html`<textarea key=${edited} name="reword" rows="5" aria-label="What it says instead">${wording(messages.find((one) => String(one.index) === edited))}</textarea>`}</fieldset>`}
      ${calls.length > 0 && html`<fieldset><legend>Another answer of a call</legend>
        <select name="call" aria-label="Call"><option value="">all as they were</option>${calls.map(([call, name]) => html`<option value=${call}>${call} ${name}</option>`)}</select>
        <textarea name="result" rows="2" aria-label="What it answers instead"></textarea></fieldset>`}
      <label>Instructions <textarea name="instructions" rows="2" placeholder="as they were"></textarea></label>
      <label>Model <input name="model" placeholder=${run.model || "as it was"} /></label>
      <label>Most steps <input name="steps" inputmode="numeric" pattern="[0-9]*" placeholder=${String(state.limits.max_steps)} /></label>
      <label class="line"><input type="checkbox" name="reuse" /> answer model calls from the recording while they are the same</label>
      <label class="line"><input type="checkbox" name="start" /> begin at once</label>
      <button disabled=${busy}>Fork</button>
    </form>
    <${Trouble} problem=${problem} />
    ${made && html`<p role="status" class="made">Made, ${made.status}: <a href=${address(`run/${made.run}`)}>open the fork</a>, or <a href=${address("compare", { a: id, b: made.run })}>compare it with this run</a>.</p>`}`;
}

function wording(message) {
  return message.parts.find((part) => part.type === "text").text;
}

function wanted(given, at) {
  const what = { at, start: Boolean(given.start), reuse: given.reuse ? "recorded" : "never" };
  if (given.say.trim()) what.say = given.say;
  if (given.message) what.reword = [{ index: Number(given.message), text: given.reword }];
  if (given.call) what.results = { [given.call]: given.result };
  if (given.instructions.trim()) what.instructions = given.instructions;
  if (given.model.trim()) what.model = given.model.trim();
  if (given.steps.trim()) what.limits = { max_steps: Number(given.steps) };
  return what;
}
