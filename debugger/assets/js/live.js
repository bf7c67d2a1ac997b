// A run as it stands now: its row, read again when the feed tells of new events.
import { useEffect, useRef, useState } from "./html.js";
import { ask, follow } from "./api.js";

export function useFeed(id) {
  const [run, setRun] = useState(null);
  const [problem, setProblem] = useState(null);
  const [head, setHead] = useState(0);
  const [lost, setLost] = useState(false);
  const waiting = useRef(null);
  useEffect(() => {
    let stop = () => {};
    let gone = false;
    const read = () =>
      ask(`runs/${id}`).then((row) => {
        if (gone) return row;
        setRun(row);
        setHead((old) => Math.max(old, row.head));
        return row;
      });
    const told = (news) => {
      if (!news.head) return;
      setHead((old) => Math.max(old, news.head));
      waiting.current = waiting.current || setTimeout(() => ((waiting.current = null), read().catch(() => {})), 200);
    };
    read().then((row) => {
      if (!gone) stop = follow(`runs/${row.run}/feed`, row.head, { told, state: (how) => setLost(how === "lost") });
    }, setProblem);
    return () => {
      gone = true;
      stop();
      clearTimeout(waiting.current);
      waiting.current = null;
    };
  }, [id]);
  return { run, problem, head, lost };
}
