// Hooks: data that belongs to what is asked, and a width.
import { useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { ask } from "./api.js";

/** What the server answers to `path` and `query`; the old answer stays until the new one is here. path null asks nothing. */
export function useAnswer(path, query, again = "") {
  const key = path === null ? null : `${path} ${JSON.stringify(query || {})} ${again}`;
  const [found, setFound] = useState({ key: null, answer: null, problem: null });
  useEffect(() => {
    if (key === null) return undefined;
    const stop = new AbortController();
    ask(path, query, stop.signal).then(
      (answer) => !stop.signal.aborted && setFound({ key, answer, problem: null }),
      (problem) => problem.name !== "AbortError" && setFound((old) => ({ key, answer: old.answer, problem })),
    );
    return () => stop.abort();
  }, [key]);
  return { ...found, waiting: key !== found.key };
}

export function useSize() {
  const ref = useRef(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => {
      if (ref.current) setSize({ width: ref.current.clientWidth, height: ref.current.clientHeight });
    });
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, []);
  return [ref, size];
}

/** Remembers the newest value, for callbacks that live longer than a render. */
export function useNewest(value) {
  const ref = useRef(value);
  ref.current = value;
  return ref;
}
