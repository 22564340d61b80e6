/** Controls that several panels are made of. */

import { el, setText } from "../dom.js";

let number = 0;

/** A part of the side column that can be folded. @param {string} title @param {...any} content */
export function section(title, ...content) {
  return el("details", { class: "case-section", open: true }, el("summary", {}, el("h2", { text: title })), el("div", { class: "case-section-body" }, ...content));
}

/**
 * A name with a control.
 * @param {string} text @param {HTMLElement} control
 */
export function labelled(text, control, className = "case-field") {
  control.id ||= `case-control-${++number}`;
  return el("div", { class: className }, el("label", { htmlFor: control.id, text }), control);
}

/** A switch. @param {string} text @param {(on: boolean) => void} onChange */
export function toggle(text, onChange) {
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", onChange: () => onChange(input.checked) }));
  return { root: el("label", { class: "case-toggle" }, input, el("span", { text })), input };
}

/** @param {Record<string, any>} props */
export function slider(props) {
  return /** @type {HTMLInputElement} */ (el("input", { type: "range", class: "case-slider", ...props }));
}

/** A choice of few. @param {[string, string][]} options value and text @param {(value: string) => void} onChange */
export function select(options, onChange) {
  const node = /** @type {HTMLSelectElement} */ (el("select", { class: "input", onChange: () => onChange(node.value) }));
  setOptions(node, options);
  return node;
}

/** Touches the list only where it differs, so that an open one stays open. @param {HTMLSelectElement} node */
export function setOptions(node, options) {
  const key = JSON.stringify(options);
  if (node.dataset.options !== key) {
    const chosen = node.value;
    node.replaceChildren(...options.map(([value, text]) => el("option", { value, text })));
    node.value = options.some(([value]) => value === chosen) ? chosen : options[0]?.[0] ?? "";
    node.dataset.options = key;
  }
}

/** A field for a number that is taken in when it is left or Enter is pressed. @param {(value: number) => void} onChange */
export function numberField(onChange) {
  const node = /** @type {HTMLInputElement} */ (el("input", {
    type: "number", class: "input", step: "any", inputmode: "decimal",
    onChange: () => Number.isFinite(node.valueAsNumber) && onChange(node.valueAsNumber),
  }));
  return node;
}

/** Set a field unless a person is writing in it. @param {HTMLInputElement|HTMLSelectElement} node @param {string|number} value */
export function setField(node, value) {
  const isWriting = document.activeElement === node && node instanceof HTMLInputElement && node.type === "number";
  if (!isWriting && node.value !== String(value)) {
    node.value = String(value);
  }
}

/** Rows of a table, made anew only where what they say differs. @param {HTMLElement} body @param {any[]} rows @param {(row: any) => Node} make */
export function setRows(body, rows, make) {
  const key = JSON.stringify(rows);
  if (body.dataset.rows !== key) {
    const focused = body.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.key : null;
    body.replaceChildren(...rows.map(make));
    body.dataset.rows = key;
    if (focused) {
      /** @type {HTMLElement|null} */ (body.querySelector(`[data-key="${CSS.escape(focused)}"]`))?.focus();
    }
  }
}

/** A line of text that hides when it is empty. */
export function line(className = "hint") {
  const node = el("p", { class: className, hidden: true });
  return {
    root: node,
    set(/** @type {string} */ text) {
      node.hidden = !text;
      setText(node, text);
    },
  };
}
