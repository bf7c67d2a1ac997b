// A list of any length, of which only the rows on the screen are there. Rows come in pages, when they are looked at.
import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { ask } from "./api.js";
import { useNewest, useSize } from "./use.js";

const PAGE = 100;
const AROUND = 6;

/** Pages of the rows that `path` answers under `name`. A row that is not here yet is null. `stamp`: grows as the log does. */
export function useRows(path, query, name, stamp) {
  const key = `${path} ${JSON.stringify(query)}`;
  const kept = useRef({ key: "", pages: new Map(), asked: new Set(), total: null });
  const [, setDrawn] = useState(0);
  const newest = useNewest(stamp);
  if (kept.current.key !== key) kept.current = { key, pages: new Map(), asked: new Set(), total: kept.current.key ? 0 : null };
  const load = useCallback((page) => {
    const mine = kept.current;
    const wanted = `${page} ${newest.current}`;
    if (mine.asked.has(wanted)) return;
    mine.asked.add(wanted);
    const at = newest.current;
    ask(path, { ...query, skip: page * PAGE, limit: PAGE }).then(
      (answer) => {
        if (kept.current !== mine) return;
        mine.pages.set(page, { rows: answer[name], stamp: at });
        mine.total = answer.total;
        setDrawn((drawn) => drawn + 1);
      },
      () => mine.asked.delete(wanted),
    );
  }, [key]);
  const row = (index) => {
    const page = kept.current.pages.get(Math.floor(index / PAGE));
    if (!page || page.stamp < stamp) load(Math.floor(index / PAGE));
    return page ? page.rows[index % PAGE] || null : null;
  };
  useEffect(() => load(0), [key, stamp]);
  return { row, total: kept.current.total };
}

/** `draw(index)` gives the row at an index. chosen: the row to be seen and marked; it is brought into view when it changes. */
export function Rows({ total, height, draw, chosen, label, id }) {
  const [ref, size] = useSize();
  const [top, setTop] = useState(0);
  const scroll = useCallback((event) => setTop(event.currentTarget.scrollTop), []);
  // Only a new choice moves the list, or less room for it: whoever scrolls away from it stays away.
  const brought = useRef({ chosen: null, height: 0 });
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box || chosen === null || chosen === undefined || !size.height || chosen >= total) return;
    const before = brought.current;
    const at = chosen * height;
    const pushedOut = size.height < before.height && at < box.scrollTop + before.height;
    brought.current = { chosen, height: size.height };
    if (before.chosen === chosen && !pushedOut) return;
    if (at < box.scrollTop || at + height > box.scrollTop + size.height) {
      const below = at + height - box.scrollTop - size.height;
      const near = below > 0 && below < size.height / 2; // the next row, or a few new ones: the list goes on, it does not jump
      box.scrollTop += near ? below : at - size.height / 2 + height / 2 - box.scrollTop;
      setTop(box.scrollTop);
    }
  }, [chosen, size.height, total]);
  const first = Math.max(0, Math.floor(top / height) - AROUND);
  const last = Math.min(total, Math.ceil((top + (size.height || 600)) / height) + AROUND);
  const shown = [];
  for (let index = first; index < last; index += 1) shown.push(index);
  return html`<div class="rows" ref=${ref} onScroll=${scroll} role="listbox" tabindex="0" aria-label=${label} id=${id}
    aria-activedescendant=${chosen !== null && chosen >= first && chosen < last ? `${id}-${chosen}` : undefined}>
    <div class="rows-all" role="presentation" style=${{ height: `${total * height}px` }}>
      ${shown.map((index) => html`<div key=${index} class="rows-place" role="presentation" style=${{ height: `${height}px`, transform: `translateY(${index * height}px)` }}>${draw(index)}</div>`)}
    </div>
  </div>`;
}
