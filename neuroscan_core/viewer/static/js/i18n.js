// Every word that a person reads comes from static/locales/<language>.json, by section: t("live.title", {n: 3}).
// A value is a text with {names}, or an object of plural forms ({one, other}, as Intl.PluralRules names them), of which
// n chooses one.
// tests/viewer/test_page_texts.py fails where a key that is used does not exist, or one that exists is not used.

// Add a language here and as static/locales/<language>.json; the browser's first one that is here is used.
export const LANGUAGES = ["en"];

let texts = {};
let language = "en";
let plurals = new Intl.PluralRules(language);
let numbers = new Map();

/**
 * The first wanted language that there is; English otherwise.
 * @param {readonly string[]} wanted such as navigator.languages
 * @param {string[]} [available]
 */
export function chooseLanguage(wanted, available = LANGUAGES) {
  return wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((language) => available.includes(language)) ?? "en";
}

/**
 * Load a language; called once before the first page is drawn.
 * @param {string} [wanted]
 */
export async function loadLocale(wanted = chooseLanguage(navigator.languages)) {
  const answer = await fetch(new URL(`../locales/${wanted}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`The texts for ${wanted} cannot be loaded (${answer.status}).`);
  useTexts(wanted, await answer.json());
  document.documentElement.lang = wanted;
}

/** Use these texts (tests; loadLocale otherwise). */
export function useTexts(wanted, loaded) {
  texts = loaded;
  // How dates and numbers are written may be narrower than the language: English with 24 hours.
  language = find("language.intl") ?? wanted;
  plurals = new Intl.PluralRules(language);
  numbers = new Map();
}

function find(key) {
  let found = texts;
  for (const part of key.split(".")) found = found?.[part];
  return found;
}

/** Whether there is a text: for keys made of what a server says, such as `state.${state}`. */
export function hasText(key) {
  const found = find(key);
  return typeof found === "string" || typeof found?.other === "string";
}

/**
 * The text of a key.
 * @param {string} key for example "live.slices"
 * @param {Object<string, string|number>} [values] for {names}; n chooses the plural; numbers are written as in the language
 * @returns {string} the key itself, and an error in the console, where there is none
 */
export function t(key, values = {}) {
  let found = find(key);
  if (found && typeof found === "object") found = found[plurals.select(Number(values.n ?? 0))] ?? found.other;
  if (typeof found !== "string") {
    console.error(`There is no text for "${key}".`);
    return key;
  }
  return found.replace(/\{(\w+)\}/g, (whole, name) => {
    if (!(name in values)) return whole;
    return typeof values[name] === "number" ? formatNumber(values[name]) : String(values[name]);
  });
}

/**
 * A number as the language writes it.
 * @param {number} value
 * @param {number} [digits] after the point; integers have none unless told
 */
export function formatNumber(value, digits) {
  const key = digits ?? "any";
  if (!numbers.has(key)) {
    const options =
      digits === undefined
        ? { maximumFractionDigits: 2 }
        : { minimumFractionDigits: digits, maximumFractionDigits: digits };
    numbers.set(key, new Intl.NumberFormat(language, options));
  }
  return numbers.get(key).format(value);
}

/** The language in use, for Intl. */
export function currentLanguage() {
  return language;
}
