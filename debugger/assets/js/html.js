// Preact and htm, put together: the only place that knows of both.
// What a run's models and tools said becomes text nodes and nothing else; nobody here sets innerHTML.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
export { render, Fragment } from "preact";
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
