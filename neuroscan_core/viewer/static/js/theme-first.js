// Runs before the first paint, so that a light page never flashes dark. A classic script: modules come too late.
(() => {
  let isLight = false; // browsers say "light" where nobody chose anything, so what they say is not asked for
  try {
    isLight = localStorage.getItem("neuroscan.theme") === "light";
  } catch {
    // Storage may be forbidden: dark, then.
  }
  document.documentElement.dataset.theme = isLight ? "light" : "dark";
})();
