// The whole family at one global moment, and the runs that go on from one another.
import { html, useState } from "./html.js";
import { recorded } from "./api.js";
import { address } from "./place.js";
import { Status, Trouble } from "./status.js";
import { useAnswer } from "./use.js";
import { count, many, short } from "./words.js";

export function Family({ id, at, turn }) {
  const { answer, problem, waiting } = useAnswer(`runs/${id}/family`, { at });
  const [asked, setAsked] = useState(false);
  return html`<div class="pane-head"><h2>${answer?.as_of && answer.as_of !== at ? `Family at event ${count(answer.as_of)}` : "Family at this moment"}</h2>${answer && html`<span class="quiet">position ${count(answer.position)} of the journal</span>`}</div>
    <${Trouble} problem=${problem} />
    ${answer && html`<ul class=${`kin ${waiting ? "stale" : ""}`}><${Member} member=${answer.root} id=${id} /></ul>`}
    ${recorded ? html`<p class="quiet">The file has the family at its ends, and wherever a child began, waited or ended.</p>` : html`<h3>Goes on from, and is gone on from</h3>
    ${asked ? html`<${Lineage} id=${id} />` : html`<button type="button" onClick=${() => setAsked(true)}>Look through the journal</button>`}
    <h3>Compare</h3>
    <${CompareWith} id=${id} />`}`;
}

function Member({ member, id }) {
  const mine = member.run === id;
  return html`<li class=${mine ? "mine" : ""}>
    ${mine || recorded ? html`<b>${member.name || short(member.run)}</b>` : html`<a href=${address(`run/${member.run}`, { v: member.version || undefined })}>${member.name || short(member.run)}</a>`}
    <span class="quiet mono"> ${short(member.run)}</span> <${Status} status=${member.status} />
    <div class="quiet">${member.version ? html`event ${count(member.version)} · step ${count(member.step)} · ${many(member.tool_calls, "call")} · ${count(member.tokens)} tokens` : "not yet begun, or not in this journal"}${member.call && ` · call ${member.call}`}</div>
    ${member.error && html`<div class="wrong-text">${member.error}</div>`}
    ${member.children.length > 0 && html`<ul>${member.children.map((child) => html`<${Member} key=${child.run} member=${child} id=${id} />`)}</ul>`}
  </li>`;
}

function Lineage({ id }) {
  const { answer, problem } = useAnswer(`runs/${id}/lineage`);
  return html`<${Trouble} problem=${problem} />${answer ? html`<ul class="kin"><${Branch} branch=${answer} id=${id} /></ul>` : !problem && html`<p class="quiet">reading …</p>`}`;
}

function Branch({ branch, id }) {
  return html`<li class=${branch.run === id ? "mine" : ""}>
    ${branch.version > 0 && html`<span class="quiet">from event ${count(branch.version)}: </span>`}
    ${branch.run === id || !branch.known ? html`<b class="mono">${short(branch.run)}</b>${!branch.known && html` <span class="quiet">not in this journal</span>`}` : html`<a class="mono" href=${address(`run/${branch.run}`)}>${short(branch.run)}</a> <a href=${address("compare", { a: id, b: branch.run })}>compare</a>`}
    ${branch.children.length > 0 && html`<ul>${branch.children.map((child) => html`<${Branch} key=${child.run} branch=${child} id=${id} />`)}</ul>`}
  </li>`;
}

function CompareWith({ id }) {
  const { answer } = useAnswer("runs", { limit: 100 });
  const others = (answer?.runs || []).filter((one) => one.run !== id);
  return html`<label>This run with <select onChange=${(event) => event.target.value && (location.hash = address("compare", { a: id, b: event.target.value }))}><option value="">choose a run</option>${others.map((one) => html`<option value=${one.run}>${one.name || one.agent} (${short(one.run)}, ${one.status})</option>`)}</select></label>`;
}
