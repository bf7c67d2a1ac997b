// Go on from this moment in a new run, with something changed. What is inherited is not paid for again.
import { html, useEffect, useRef, useState } from "./html.js";
import { send } from "./api.js";
import { address } from "./place.js";
import { Note, Trouble } from "./status.js";
import { useAnswer } from "./use.js";
import { count, many, usd } from "./words.js";

const LIMITS = [
  ["max_steps", "Most steps"], ["max_tool_calls", "Most tool calls"], ["max_tokens", "Most tokens"], ["max_cost_usd", "Most dollars"], ["timeout_s", "Most seconds"],
];

export function Fork({ id, run, at, seen }) {
  const form = useRef(null);
  const [what, setWhat] = useState({ at });
  const [foreseen, setForeseen] = useState(null);
  const [problem, setProblem] = useState(null);
  const [made, setMade] = useState(null);
  const [busy, setBusy] = useState(false);
  const [edited, setEdited] = useState("");
  const runs = useAnswer("runs", { limit: 200 }).answer;
  useEffect(() => {
    if (!run.live || !at) return undefined;
    const stop = new AbortController(); // not for each letter, and the answer to an older wish is none
    const timer = setTimeout(() => send(`runs/${id}/fork/preview`, what, stop.signal).then((answer) => (answer.cannot ? setProblem(new Error(answer.cannot)) : (setForeseen(answer), setProblem(null))), (error) => error.name !== "AbortError" && setProblem(error)), 200);
    return () => (clearTimeout(timer), stop.abort());
  }, [JSON.stringify(what), id]);
  if (!run.live) return html`<${Note}>There is no live host behind this page: it can only be read. In code: Runtime.fork.<//>`;
  if (!seen) return html`<p class="quiet loading">Loading …</p>`;
  if (!at) return html`<${Note}>Before the first event there is nothing to go on from.<//>`;
  const { state } = seen.shown;
  const { messages, total } = seen.messages;
  const spoken = messages.filter((one) => one.parts.some((part) => part.type === "text"));
  const calls = state.asked.map((call, index) => [`${state.step}.${index}`, call.name]);
  const agents = [...new Set((runs?.runs || []).map((one) => one.agent).filter((one) => one && one !== run.agent))].sort();
  const changed = () => setWhat(wanted(new FormData(form.current), at, foreseen?.tools || []));
  const another = Boolean(what.agent);
  const fork = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      setMade(await send(`runs/${id}/fork`, wanted(new FormData(form.current), at, foreseen?.tools || [])));
    } catch (error) {
      setProblem(error);
    } finally {
      setBusy(false);
    }
  };
  return html`<div class="pane-head"><h2>Fork from event ${count(at)}</h2></div>
    <p class="quiet">A new run that stands where this one stood. This run is not touched. What you leave empty is as it was.</p>
    <form class="fork" ref=${form} onSubmit=${fork} onInput=${changed}>
      <fieldset><legend>The conversation</legend>
        <label>Say next <textarea name="say" rows="2" placeholder="nothing"></textarea></label>
        ${spoken.length > 0 && html`<label>Another wording of message
          <select name="message" value=${edited} onChange=${(event) => setEdited(event.target.value)}><option value="">none: all as they were</option>${spoken.map((one) => html`<option value=${one.index}>${one.index}: ${one.role}, ${wording(one).slice(0, 60)}</option>`)}</select></label>
          ${edited !== "" && html`<label>What it says instead <textarea key=${edited} name="reword" rows="5">${wording(messages.find((one) => String(one.index) === edited))}</textarea></label>`}`}
        <label>Leave out, from message
          <select name="drop"><option value="">none: all stay</option>${messages.map((one) => html`<option value=${one.index}>${one.index}: ${one.role}, ${gist(one).slice(0, 60)}</option>`)}</select></label>
        ${total > messages.length && html`<p class="quiet">The newest ${count(messages.length)} of ${count(total)} messages can be chosen; for older ones fork from an earlier moment.</p>`}
      </fieldset>
      ${calls.length > 0 && html`<fieldset><legend>Another answer of a call</legend>
        <label>Call <select name="call"><option value="">none: all as they were</option>${calls.map(([call, name]) => html`<option value=${call}>${call} ${name}</option>`)}</select></label>
        <label>What it answers instead <textarea name="result" rows="2"></textarea></label></fieldset>`}
      <fieldset><legend>Who goes on</legend>
        <div class="pair"><label>Agent <input name="agent" list="fork-agents" autocomplete="off" placeholder=${run.agent} /></label>
          <label>Model <input name="model" autocomplete="off" placeholder=${run.model || "as it was"} /></label></div>
        <datalist id="fork-agents">${agents.map((one) => html`<option key=${one} value=${one} />`)}</datalist>
        ${!foreseen?.phased && html`<label>Instructions <textarea name="instructions" rows="2" placeholder="as they were"></textarea></label>`}
        ${another
          ? html`<label>Its only tools <input name="named" autocomplete="off" placeholder="all that it has; or names, with commas between" /></label>`
          : foreseen?.tools.length > 0 && html`<div role="group" aria-label="Tools that it may use" class="ticks"><span>Tools that it may use</span>${foreseen.tools.map((name) => html`<label key=${name} class="line mono"><input type="checkbox" name="tools" value=${name} checked=${what.tools ? what.tools.includes(name) : true} /> ${name}</label>`)}</div>`}
      </fieldset>
      <fieldset><legend>Limits, with what is inherited counted</legend>
        <div class="pair">${LIMITS.map(([name, label]) => html`<label key=${name}>${label} <input name=${name} inputmode="decimal" pattern="[0-9]*[.]?[0-9]*" title="a number" autocomplete="off" placeholder=${state.limits[name] === null ? "no limit" : String(state.limits[name])} /></label>`)}</div></fieldset>
      <label class="line"><input type="checkbox" name="reuse" /> answer model calls from the recording while they are the same</label>
      <label class="line"><input type="checkbox" name="start" /> begin at once</label>
      ${foreseen && html`<${Foreseen} found=${foreseen} what=${what} />`}
      <${Trouble} problem=${problem} />
      <button disabled=${busy}>Fork</button>
    </form>
    ${made && html`<p role="status" class="made">Made, ${made.status}: <a href=${address(`run/${made.run}`)}>open the fork</a>, or <a href=${address("compare", { a: id, b: made.run })}>compare it with this run</a>.</p>`}`;
}

/** What is not paid for again, and what is. */
function Foreseen({ found, what }) {
  const named = (calls) => calls.map((one) => `${one.call} ${one.name}`.trim()).join(", ");
  const reused = [
    `${many(found.messages, "message")}${found.dropped ? `, ${count(found.dropped)} left out` : ""}`,
    `${many(found.steps, "step")}, ${many(found.tool_calls, "tool call")}, ${count(found.tokens)} tokens${found.cost_usd ? ` (${usd(found.cost_usd)})` : ""}: counted by its limits`,
    found.given.length > 0 && `given instead: the answer of ${found.given.join(", ")}`,
    what.reuse === "recorded" && found.recorded > 0 && `at most ${many(found.recorded, "model answer")} of this run, while the model is shown the same`,
  ].filter(Boolean);
  const paid = found.ends
    ? []
    : [
        found.to_make.length > 0 && `tools that are run: ${named(found.to_make)}`,
        what.reuse === "recorded" && found.recorded > 0 ? "model calls from the first one on that is not the same" : `every model call, from step ${count(found.next_step)} on`,
        "every call of a tool after that",
      ].filter(Boolean);
  const told = [
    found.unknown.length > 0 && `outcome unknown, not run again: ${named(found.unknown)}`,
    found.cancelled.length > 0 && `told as cancelled: ${named(found.cancelled)}`,
    what.reuse === "recorded" && found.shown_else && "With these changes the model is shown something else: no answer of the recording fits.",
  ].filter(Boolean);
  return html`<section class="foreseen" aria-label="What is reused and what will be paid" aria-live="polite">
    <div><h3>Reused, not paid again</h3><ul>${reused.map((one) => html`<li key=${one}>${one}</li>`)}</ul></div>
    <div><h3>Done anew, and paid</h3>${paid.length ? html`<ul>${paid.map((one) => html`<li key=${one}>${one}</li>`)}</ul>` : html`<p class="quiet">Nothing: it ends with the last words of this run, unless something is said.</p>`}</div>
    ${told.length > 0 && html`<div><h3>To be known</h3><ul>${told.map((one) => html`<li key=${one}>${one}</li>`)}</ul></div>`}
  </section>`;
}

function wording(message) {
  return message.parts.find((part) => part.type === "text").text;
}

function gist(message) {
  return message.parts.map((part) => part.text || (part.name ? `${part.name}(…)` : part.type)).join(" ");
}

/** What the form asks for. known: the tools that stand in it; all of them is no wish. */
function wanted(form, at, known) {
  const given = (name) => (form.get(name) || "").trim();
  const what = { at, start: form.has("start"), reuse: form.has("reuse") ? "recorded" : "never" };
  if (given("say")) what.say = form.get("say");
  if (given("message") && form.has("reword")) what.reword = [{ index: Number(given("message")), text: form.get("reword") }];
  if (given("drop")) what.drop_from = Number(given("drop"));
  if (given("call")) what.results = { [given("call")]: form.get("result") };
  if (given("agent")) what.agent = given("agent");
  if (given("model")) what.model = given("model");
  if (given("instructions")) what.instructions = form.get("instructions");
  if (given("named")) what.tools = given("named").split(",").map((one) => one.trim()).filter(Boolean);
  const ticked = form.getAll("tools");
  if (!given("agent") && known.length && ticked.length < known.length) what.tools = ticked;
  const limits = Object.fromEntries(LIMITS.map(([name]) => [name, given(name)]).filter(([, value]) => value !== "" && !Number.isNaN(Number(value))).map(([name, value]) => [name, Number(value)]));
  if (Object.keys(limits).length) what.limits = limits;
  return what;
}
