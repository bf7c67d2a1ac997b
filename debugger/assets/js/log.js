// The log as a list: groups (a step or a call is one row) or raw events. Only the rows on the screen are in the page.
import { html, useEffect, useState } from "./html.js";
import { ask } from "./api.js";
import { Icon } from "./icons.js";
import { Rows, useRows } from "./list.js";
import { Note } from "./status.js";
import { count, many, span } from "./words.js";

const HEIGHT = { events: 30, groups: 46 };

export function Log({ id, depth, filter, first, head, at, pin, seek, following, follow, turn }) {
  const name = depth === "groups" ? "groups" : "moments";
  const path = `runs/${id}/${name}`;
  const { row, total } = useRows(path, filter, name, head);
  const filtered = Object.keys(filter).length > 0;
  const [chosen, setChosen] = useState(null);
  useEffect(() => {
    if (name === "moments" && !filtered) return setChosen(at > first ? at - 1 - first : null);
    const stop = new AbortController();
    const timer = setTimeout(() => ask(path, { ...filter, around: at || 1, limit: 1 }, stop.signal).then((answer) => setChosen(answer.row), () => {}), 20);
    return () => (stop.abort(), clearTimeout(timer));
  }, [path, JSON.stringify(filter), at, name === "groups" || filtered ? head : 0]);

  const draw = (index) => {
    const one = row(index);
    const mine = { id: `log-${index}`, role: "option", "aria-setsize": total, "aria-posinset": index + 1 };
    if (!one) return html`<div class="row row-waiting" ...${mine} aria-selected="false">…</div>`;
    return name === "groups" ? html`<${GroupRow} group=${one} at=${at} mine=${mine} seek=${seek} />` : html`<${MomentRow} moment=${one} at=${at} pin=${pin} mine=${mine} seek=${seek} turn=${turn} />`;
  };
  const unfollow = () => following && head > 0 && turn({ v: head });
  return html`<div class="log" onWheel=${unfollow} onTouchMove=${unfollow}>
    ${filtered && html`<p class="quiet note" role="status">${total === null ? "…" : name === "groups" ? `${many(total, "group")} with what matches` : `${count(total)} of ${many(head - first, "event")} match`}</p>`}
    ${total === 0 ? html`<${Note}>Nothing here.<//>` : html`<${Rows} key=${`${name} ${JSON.stringify(filter)}`} id="log" label=${name === "groups" ? "Groups of events" : "Events"} total=${total ?? 0} height=${HEIGHT[depth]} draw=${draw} chosen=${chosen} />`}
  </div>`;
}

function MomentRow({ moment, at, pin, mine, seek }) {
  const here = moment.version === at;
  const kind = `row lane-${moment.lane} weight-${moment.importance} ${here ? "here" : ""} ${moment.version > at ? "later" : ""} ${moment.wrong ? "wrong" : ""}`;
  return html`<div class=${kind} ...${mine} aria-selected=${String(here)} data-version=${moment.version} onClick=${() => seek(moment.version)}>
    <span class="row-number">${count(moment.version)}</span>
    <span class="row-kind">${moment.wrong && html`<${Icon} name="wrong" /><span class="unseen">went wrong: </span>`}${moment.tag}</span>
    <span class="row-title">${moment.tool && !moment.title.includes(moment.tool) ? html`<b>${moment.tool}</b> ` : ""}${moment.title}</span>
    ${pin === moment.version && html`<span class="tag">pinned</span>`}
    <span class="row-time">${moment.elapsed_ms ? span(moment.elapsed_ms) : ""}</span>
  </div>`;
}

function GroupRow({ group, at, mine, seek }) {
  const here = group.first <= at && at <= group.last;
  const outcome = group.call && group.outcome.startsWith(`${group.call}: `) ? group.outcome.slice(group.call.length + 2) || "an empty answer" : group.outcome;
  const kind = `row group lane-${group.lane} weight-${group.importance} ${here ? "here" : ""} ${group.first > at ? "later" : ""} ${group.wrong ? "wrong" : ""}`;
  return html`<div class=${kind} ...${mine} aria-selected=${String(here)} data-version=${group.last} onClick=${() => seek(group.last)}>
    <span class="row-number">${count(group.first)}</span>
    <span class="row-title">${group.wrong && html`<${Icon} name="wrong" /><span class="unseen">went wrong: </span>`}${group.title}</span>
    <span class="row-time">${[group.took_ms && span(group.took_ms), group.tokens && many(group.tokens, "token")].filter(Boolean).join(" · ")}</span>
    <span class="row-outcome">${outcome || (group.events === 1 ? "" : "…")}</span>
  </div>`;
}
