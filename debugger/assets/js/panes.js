// What is to be known of a moment, one pane at a time. What changed comes first.
import { html } from "./html.js";
import { Blame } from "./blame.js";
import { Changes } from "./changes.js";
import { EventPane } from "./event.js";
import { Family } from "./family.js";
import { Fork } from "./fork.js";
import { Overview } from "./overview.js";
import { Search } from "./search.js";
import { Tabs } from "./tabs.js";
import { StateTree } from "./tree.js";
import { Watches, watchedOf, watching } from "./watch.js";

export const PANES = [
  ["changes", "Changes"], ["state", "State"], ["event", "Event"], ["family", "Family"], ["overview", "Overview"], ["search", "Search"], ["fork", "Fork"],
];

export function Panes({ pane, id, run, at, pin, seen, waiting, line, path, params, head, adding, setAdding, turn, seek }) {
  const blame = (to) => turn({ path: to });
  const common = { id, at, pin, seen, seek, turn, blame };
  const paths = watchedOf(params);
  return html`<div class="tools"><${Tabs} id="tab" label="Panes" tabs=${run.live ? PANES : PANES.slice(0, -1)} chosen=${pane} choose=${(name) => turn({ pane: name === "changes" ? undefined : name })} controls="pane" />
      <span class="space"></span><button type="button" class="small" aria-label="Watch a value" aria-expanded=${String(adding)} onClick=${() => setAdding(!adding)} title="watch a value: w">Watch</button></div>
    <${Watches} id=${id} at=${at} head=${head} paths=${paths} seen=${seen} adding=${adding} setAdding=${setAdding} seek=${seek} blame=${(to) => turn({ path: to, pane: pane === "state" ? "state" : undefined })} turn=${turn} params=${params} />
    <div class=${`pane ${waiting ? "stale" : ""}`} id="pane" role="tabpanel" aria-labelledby=${`tab-${pane}`} tabindex="0">
      ${path && (pane === "changes" || pane === "state") && html`<${Blame} id=${id} path=${path} at=${at} seek=${seek} close=${() => turn({ path: undefined })} watched=${paths.includes(path)} watch=${() => turn(watching(params, path))} />`}
      ${pane === "changes" && html`<${Changes} ...${common} />`}
      ${pane === "state" && html`<${StateTree} ...${common} />`}
      ${pane === "event" && html`<${EventPane} ...${common} />`}
      ${pane === "family" && html`<${Family} ...${common} />`}
      ${pane === "overview" && html`<${Overview} ...${common} run=${run} line=${line} />`}
      ${pane === "fork" && html`<${Fork} key=${at} ...${common} run=${run} />`}
      ${pane === "search" && html`<${Search} ...${common} />`}
    </div>`;
}
