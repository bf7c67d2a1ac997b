// The page: which view stands at this address, and what is said when it cannot be shown.
import { html, render, useEffect, useState } from "./html.js";
import { Problem, ask, recorded, useToken } from "./api.js";
import { Compare } from "./compare.js";
import { Help } from "./help.js";
import { go, usePlace } from "./place.js";
import { Run } from "./run.js";
import { Runs } from "./runs.js";

function Page() {
  const place = usePlace();
  const [problem, setProblem] = useState(null);
  const [ready, setReady] = useState(null);
  const [help, setHelp] = useState(false);
  const begin = () => ask("runs", { limit: 1 }).then((answer) => (setProblem(null), setReady(answer)), setProblem);
  useEffect(() => void begin(), []);
  if (problem instanceof Problem && problem.status === 401) return html`<${Locked} problem=${problem} again=${begin} />`;
  if (problem) return html`<main class="alone"><p class="problem" role="alert">${problem.message}</p><button onClick=${begin}>Try again</button></main>`;
  if (!ready) return html`<p class="quiet loading">Loading …</p>`;
  const [view, id] = recorded ? ["run", ready.runs[0].run] : place.path.split("/"); // a file has one run, and nothing but it
  const common = { params: place.params, help: () => setHelp(true) };
  return html`
    ${view === "run" && id ? html`<${Run} key=${id} id=${id} ...${common} />` : view === "compare" ? html`<${Compare} ...${common} />` : html`<${Runs} ...${common} />`}
    ${help && html`<${Help} close=${() => setHelp(false)} />`}`;
}

function Locked({ problem, again }) {
  const opened = (event) => {
    event.preventDefault();
    useToken(new FormData(event.target).get("token").trim());
    again();
  };
  return html`<main class="alone">
    <h1>executus debugger</h1>
    <p role="alert">${problem.message}.</p>
    <form onSubmit=${opened}>
      <label>Or give the token: <input name="token" type="password" autocomplete="off" required /></label>
      <button>Open</button>
    </form>
  </main>`;
}

addEventListener("keydown", (event) => {
  if (event.key === "r" && !recorded && !event.ctrlKey && !event.metaKey && !event.altKey && !document.querySelector("dialog[open]") && !event.target.closest?.("input, textarea, select")) go("", {});
});
render(html`<${Page} />`, document.getElementById("page"));
