// The line of time: a lane for everybody who acts, a slider to scrub, and buttons to play and to jump.
import { html, useEffect, useRef, useState } from "./html.js";
import { Act, Icon } from "./icons.js";
import { useNewest, useSize } from "./use.js";
import { count } from "./words.js";

const LANES = [
  ["run", "Run"], ["step", "Steps"], ["tool", "Tools"], ["child", "Children"], ["critic", "Critic"],
  ["budget", "Budget"], ["people", "People"], ["host", "Host"], ["delivery", "Delivery"],
];
const ALWAYS = new Set(["step", "tool", "child", "critic", "budget", "people"]);
const LANE = 15;
const SPEEDS = [1, 4, 10, 50, 200];

export function Timeline({ line, first, head, at, pin, following, over, seek, goTo, follow, step, jump, playing, setPlaying, turnPin }) {
  const [ref, { width }] = useSize();
  const canvas = useRef(null);
  const [speed, setSpeed] = useState(4);
  const lanes = LANES.filter(([name]) => ALWAYS.has(name) || line?.lanes[name]);
  const newest = useNewest({ at, head });
  const dark = useScheme();

  useEffect(() => {
    if (canvas.current && line && width) draw(canvas.current, line, first, head, lanes.map(([name]) => name), width);
  }, [line, width, first, head, dark]);

  useEffect(() => {
    if (!playing) return undefined;
    const timer = setInterval(() => {
      const { at: now, head: last } = newest.current;
      const by = Math.max(1, Math.round(speed / 10));
      if (now >= last) return setPlaying(false);
      return seek(Math.min(last, now + by));
    }, 1_000 / Math.min(speed, 10));
    return () => clearInterval(timer);
  }, [playing, speed]);

  const clicked = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    seek(first + Math.round(((event.clientX - box.left) / box.width) * (head - first)));
  };
  const go = (event) => {
    event.preventDefault();
    goTo(new FormData(event.target).get("version"));
    event.target.querySelector("input").blur();
  };
  const x = (version) => `${head > first ? ((version - first) / (head - first)) * 100 : 0}%`;
  return html`<section class="timeline" aria-label="Timeline">
    <div class="lanes">
      <div class="lane-names" aria-hidden="true">${lanes.map(([name, label]) => html`<div key=${name} class=${`lane-name lane-${name}`} style=${{ height: `${LANE}px` }}>${label}</div>`)}</div>
      <div class="lane-marks" ref=${ref} onClick=${clicked} style=${{ height: `${lanes.length * LANE}px` }}>
        <canvas ref=${canvas} role="img" aria-label=${line ? lanes.map(([name, label]) => `${label}: ${line.lanes[name] || 0}`).join(", ") : "loading"}></canvas>
        ${pin !== null && html`<div class="hand hand-pin" style=${{ left: x(pin) }} title=${`pinned: event ${pin}`}></div>`}
        <div class="hand" style=${{ left: x(at) }}></div>
      </div>
    </div>
    <input class="slider" type="range" min=${first} max=${head} value=${at} step="1" aria-label="Moment of the run" aria-valuetext=${`event ${at} of ${head}`} onInput=${(event) => seek(Number(event.target.value))} onKeyDown=${sliderKeys} />
    <div class="jumps">
      <div class="acts">
        <${Act} name="first" label="Before the first event (Home)" press=${() => seek(first)} />
        <${Act} name="back" label="Previous event (k)" press=${() => step(-1)} />
        <${Act} name=${playing ? "pause" : "play"} label=${playing ? "Pause (Space)" : "Play (Space)"} press=${() => setPlaying(!playing)} on=${playing} />
        <${Act} name="next" label="Next event (j)" press=${() => step(1)} />
        <${Act} name="last" label="Newest event, and follow (End)" press=${follow} on=${following && !over} />
      </div>
      <form class="where" onSubmit=${go}>
        <label><span class="unseen">Go to version, or to a time of the run</span><input id="version" name="version" title="an event, or a time of the run such as 90s, 2 m 5 s or 1:30" autocomplete="off" size=${Math.max(4, String(head).length)} value=${at} /></label>
        <span class="quiet nowrap">of ${count(head)}</span>
      </form>
      <label class="quiet"><span class="unseen">Speed of playing</span><select value=${speed} onChange=${(event) => setSpeed(Number(event.target.value))}>${SPEEDS.map((one) => html`<option value=${one}>${one} events/s</option>`)}</select></label>
      <button type="button" onClick=${() => jump("error")} title="e; back with E">Next error</button>
      <button type="button" onClick=${() => jump("critic")} title="c; back with C">Next critic act</button>
      <button type="button" onClick=${() => jump("limit")} title="l; back with L">Next limit change</button>
      <button type="button" onClick=${turnPin} aria-pressed=${String(pin !== null)} title="p"><${Icon} name="pin" /> ${pin === null ? "Pin this moment" : `Pinned: ${count(pin)}`}</button>
      ${line?.wrong ? html`<span class="wrong-sum"><${Icon} name="wrong" /> ${count(line.wrong)} went wrong</span>` : null}
      <span class="space"></span>
      ${!over && (following ? html`<span class="tag live" role="status">following</span>` : html`<button type="button" class="newer" onClick=${follow}>${count(head - at)} newer</button>`)}
    </div>
  </section>`;
}

/** The slider's own arrows are one event; what the page does with Home and End is done here too. */
function sliderKeys(event) {
  if (["ArrowLeft", "ArrowRight", "PageUp", "PageDown"].includes(event.key)) event.stopPropagation();
}

function useScheme() {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = (event) => setDark(event.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return dark;
}

function draw(canvas, line, first, head, lanes, width) {
  const ratio = devicePixelRatio || 1;
  const height = lanes.length * LANE;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name).trim();
  const known = head > first ? ((line.head - first) / (head - first)) * width : width;
  const piece = known / line.buckets;
  const events = line.head - first;
  lanes.forEach((lane, row) => {
    const middle = row * LANE + LANE / 2;
    pen.fillStyle = colour("--line");
    pen.fillRect(0, Math.round(middle), width, 1);
    const marks = line.marks[lane] || [];
    const most = Math.max(1, ...marks.map((mark) => mark[1]));
    for (const [bucket, many, wrong, importance] of marks) {
      // a bar as high as there is much in it, and never so low that it cannot be seen
      const high = 4 + (LANE - 7) * (importance === 2 ? 1 : Math.min(1, many / most) * 0.75);
      // a mark that is one event stands where the hand is at that event
      const left = events <= line.buckets ? ((Math.ceil((bucket * events) / line.buckets) + 1) / events) * known : bucket * piece;
      pen.fillStyle = colour(`--lane-${lane}`);
      pen.fillRect(Math.min(left, width - 2) - 1, middle - high / 2, Math.max(2.5, piece), high);
      if (wrong) {
        pen.fillStyle = colour("--wrong");
        pen.beginPath();
        pen.moveTo(left, middle - LANE / 2 + 1);
        pen.lineTo(left + 5, middle + LANE / 2 - 2);
        pen.lineTo(left - 5, middle + LANE / 2 - 2);
        pen.fill();
      }
    }
  });
}
