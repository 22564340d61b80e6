// Runs before the first paint, so that a light page never flashes dark. A classic script: modules come too late.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("neuroscan.theme");
  } catch {
    // Storage may be forbidden; the system's choice serves then.
  }
  const isLight = chosen ? chosen === "light" : matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.dataset.theme = isLight ? "light" : "dark";
})();
