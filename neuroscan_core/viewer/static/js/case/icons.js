/** Drawings of the case view's own buttons. */

import { svg } from "../dom.js";

const PATHS = {
  crosshair: "M12 2v7M12 15v7M2 12h7M15 12h7",
  window: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 3v18M14 6h3M14 10h6M14 14h6M14 18h3",
  pan: "M12 2v20M2 12h20M9 5l3-3 3 3M9 19l3 3 3-3M5 9l-3 3 3 3M19 9l3 3-3 3",
  zoom: "M10.5 3.5a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM15.5 15.5L21 21M10.5 7.5v6M7.5 10.5h6",
  measure: "M3 16L16 3l5 5L8 21zM7 12l2.5 2.5M10 9l1.5 1.5M13 6l2.5 2.5",
  fit: "M3 9V3h6M15 3h6v6M21 15v6h-6M9 21H3v-6M9 9h6v6H9z",
  target: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  follow: "M4 12h11M10 6l6 6-6 6M20 4v16",
  layers: "M12 3l9 5-9 5-9-5zM3 12l9 5 9-5M3 16l9 5 9-5",
  picture: "M3 5h18v14H3zM3 16l5-5 4 4 3-3 6 5",
  grid: "M3 3h8v8H3zM13 3h8v8h-8zM3 13h8v8H3zM13 13h8v8h-8z",
  large: "M3 3h12v18H3zM17 3h4v5h-4zM17 10h4v4h-4zM17 16h4v5h-4z",
  enlarge: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  keys: "M3 6h18v12H3zM6 10h1M10 10h1M14 10h1M18 10h.5M8 14.5h8",
  cube: "M12 2.5l8.5 5v9L12 21.5l-8.5-5v-9zM12 12l8.5-4.5M12 12v9.5M12 12L3.5 7.5",
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, svg("path", { d: PATHS[name] }));
}
