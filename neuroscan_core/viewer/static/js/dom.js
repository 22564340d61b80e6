// Making elements, and telling screen readers. Text is always set as text: nothing that a server says becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function setAll(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.setAttribute("class", value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "text") node.textContent = value;
    else if (["value", "checked", "disabled", "hidden", "indeterminate", "htmlFor", "tabIndex"].includes(name))
      node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
}

function addAll(node, children) {
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/**
 * Make an element: el("button", {class: "button", onClick: load}, icon("download"), "Download").
 * `style` is an object of CSS properties (the content security policy forbids style attributes).
 * @param {string} tag
 * @param {Object} [props] attributes, listeners (onClick), text, dataset, style
 * @param {...(Node|string|Array|null|false)} children
 * @returns {HTMLElement}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  setAll(node, props);
  return addAll(node, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  setAll(node, props);
  return addAll(node, children);
}

const PATHS = {
  sun: "M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM12 1v3M12 20v3M1 12h3M20 12h3M4 4l2 2M18 18l2 2M4 20l2-2M18 6l2-2",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  help: "M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19zM9.2 9.3a2.8 2.8 0 1 1 4.2 2.5c-.9.5-1.4 1-1.4 2M12 17.2v.1",
  close: "M5 5l14 14M19 5L5 19",
  retry: "M20 12a8 8 0 1 1-2.5-5.8M20 3v4.5h-4.5",
  download: "M12 3v12M7 10.5l5 5 5-5M4 20.5h16",
  upload: "M12 16V4M7 8.5l5-5 5 5M4 20.5h16",
  folder: "M3 6.5h6l2 2.5h10v10.5H3z",
  file: "M6 2.5h8l4.5 4.5v14.5H6zM14 2.5V7h4.5",
  trash: "M4 6.5h16M9 6.5V4h6v2.5M6.5 6.5l1 14h9l1-14M10 10.5v6M14 10.5v6",
  check: "M4.5 12.5l5 5L19.5 7",
  warning: "M12 3.5l9.5 17h-19zM12 10v5M12 17.6v.1",
  logout: "M14 4H5v16h9M10 12h11M17.5 8.5L21 12l-3.5 3.5",
  person: "M12 12a4.2 4.2 0 1 0 0-8.4 4.2 4.2 0 0 0 0 8.4zM4 21c0-4.4 3.6-6.5 8-6.5s8 2.1 8 6.5",
  open: "M9 5l7 7-7 7",
  report: "M6 2.5h12v19H6zM9 7.5h6M9 11.5h6M9 15.5h4",
};

/** A line drawing of 1em; decoration only, so give the button a text or an aria-label. */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: PATHS[name] }),
  );
}

/**
 * Say something to screen readers without moving the focus.
 * @param {string} text
 * @param {"polite"|"assertive"} [how] assertive interrupts: for failures only
 */
export function announce(text, how = "polite") {
  const region = document.getElementById(how);
  region.textContent = "";
  // A change of text is what is read out: the same sentence twice needs the empty step between.
  requestAnimationFrame(() => {
    region.textContent = text;
  });
}

/**
 * Bring a list of keyed nodes into a parent, touching only what differs, so that focus and selection survive a push.
 * @param {Element} parent
 * @param {Node[]} nodes
 */
export function placeChildren(parent, nodes) {
  const wanted = new Set(nodes);
  for (const node of [...parent.childNodes]) if (!wanted.has(node)) node.remove();
  nodes.forEach((node, place) => {
    if (parent.childNodes[place] !== node) parent.insertBefore(node, parent.childNodes[place] ?? null);
  });
}

/** Set text only where it differs. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make, or find again, one child per key.
 * @template T
 */
export class Keyed {
  /** @param {(key: string) => T} create makes what belongs to a key; it has a `root` node */
  constructor(create) {
    this._create = create;
    this._kept = new Map();
  }

  /**
   * @param {string[]} keys
   * @returns {T[]} one per key, in order; what is not named any more is forgotten
   */
  of(keys) {
    const kept = new Map(keys.map((key) => [key, this._kept.get(key) ?? this._create(key)]));
    this._kept = kept;
    return [...kept.values()];
  }
}
