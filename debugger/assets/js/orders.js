// What a live host can be told about the run. The run answers with facts, and those come by the feed like all others.
import { html, useState } from "./html.js";
import { order } from "./api.js";
import { Trouble } from "./status.js";

export function Orders({ run, state, say }) {
  const [problem, setProblem] = useState(null);
  const [sure, setSure] = useState("");
  const [busy, setBusy] = useState(false);
  const give = async (what, done) => {
    setBusy(true);
    setProblem(null);
    setSure("");
    try {
      await order(run.run, what);
      say(done);
      return true;
    } catch (error) {
      setProblem(error);
      return false;
    } finally {
      setBusy(false);
    }
  };
  if (run.over) return null;
  const steer = async (event) => {
    event.preventDefault();
    const form = event.target;
    const text = new FormData(form).get("advice").trim();
    if (text && (await give({ order: "steer", text }, "The advice is in the log."))) form.reset();
  };
  const end = (kind, done) => (sure === kind ? give({ order: kind, reason: "from the debugger" }, done) : setSure(kind));
  const paused = state?.governed.paused;
  const asking = state?.governed.approvals || [];
  return html`<section class="orders" aria-label="Orders to the live run">
    <span class="tag live">live: ${run.live.status}${run.live.reason && `, ${run.live.reason}`}</span>
    ${paused && html`<button type="button" class="newer" disabled=${busy} onClick=${() => give({ order: "begin" }, "It begins.")}>Begin</button>`}
    <form onSubmit=${steer}><label><span class="unseen">Advice for the model</span><input name="advice" placeholder="advice for the model" autocomplete="off" /></label><button disabled=${busy}>Steer</button></form>
    <button type="button" disabled=${busy} onClick=${() => give({ order: "extend", seconds: 60 }, "The deadline is a minute later.")}>Extend 60 s</button>
    <button type="button" disabled=${busy} onClick=${() => give({ order: "raise", more: 10, limit: "steps" }, "Ten steps more.")}>10 more steps</button>
    ${asking.map((one) => html`<span key=${one.call} class="asking"><b>${one.name}</b> asks: ${one.question || one.arguments} <button type="button" disabled=${busy} onClick=${() => give({ order: "approve", call: one.call }, "Approved.")}>Approve</button> <button type="button" disabled=${busy} onClick=${() => give({ order: "deny", call: one.call }, "Denied.")}>Deny</button></span>`)}
    <button type="button" disabled=${busy} onClick=${() => end("cancel", "Cancelled.")}>${sure === "cancel" ? "Really cancel?" : "Cancel"}</button>
    <button type="button" class="danger" disabled=${busy} onClick=${() => end("kill", "Killed.")}>${sure === "kill" ? "Really kill?" : "Kill"}</button>
    <${Trouble} problem=${problem} />
  </section>`;
}
