// Keys. They work wherever one is, but in fields that are being typed into.
import { useLayoutEffect } from "./html.js";
import { useNewest } from "./use.js";

export const KEYS = [
  [["j", "Down"], "next event"],
  [["k", "Up"], "previous event"],
  [["Home"], "before the first event"],
  [["End"], "newest event, and follow"],
  [["Space"], "play, pause"],
  [["e", "E"], "next, previous error"],
  [["c", "C"], "next, previous act of the critic"],
  [["l", "L"], "next, previous change of a limit"],
  [["1", "2", "3"], "conversation, groups, events"],
  [["d", "s", "v", "f", "o"], "changes, state, event, family, overview"],
  [["g"], "fork from this moment"],
  [["w"], "watch a value"],
  [["p"], "pin this moment, or let go of the pin"],
  [[":"], "go to a version, or to a time of the run"],
  [["/"], "search"],
  [["r"], "list of runs"],
  [["?"], "this help"],
  [["Esc"], "close, or leave the field"],
];

export function useKeys(actions) {
  const newest = useNewest(actions);
  useLayoutEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const field = event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select");
      if (field) {
        if (event.key === "Escape") field.blur();
        return;
      }
      if (event.key === " " && event.target.closest?.("button, summary, a, [role=tab]")) return;
      if (event.key === "Enter") return;
      if (event.target.closest?.("[role=tablist]") && event.key.startsWith("Arrow")) return;
      const name = event.key === "ArrowDown" ? "j" : event.key === "ArrowUp" ? "k" : event.key;
      const action = newest.current[name];
      if (!action) return;
      event.preventDefault();
      action(event);
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
