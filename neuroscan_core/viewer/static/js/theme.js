// Dark, as reading rooms are, or light: a person's choice.

const KEY = "neuroscan.theme";

/** @returns {"dark"|"light"} */
export function currentTheme() {
  return document.documentElement.dataset.theme === "light" ? "light" : "dark";
}

function apply(theme) {
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new CustomEvent("themechange", { detail: theme }));
}

/** Switch and remember; canvases listen for `themechange` on the document. */
export function toggleTheme() {
  const theme = currentTheme() === "light" ? "dark" : "light";
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It holds until the page is closed.
  }
  apply(theme);
  return theme;
}
