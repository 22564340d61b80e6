// Figures as a person reads them.

import { currentLanguage, formatNumber, t } from "./i18n.js";

/** Milliseconds: "38 ms", "1.24 s"; a dash where there is none. */
export function formatMs(ms) {
  if (ms === null || ms === undefined) return t("format.none");
  if (ms < 10) return t("format.ms", { value: formatNumber(ms, 1) });
  if (ms < 1000) return t("format.ms", { value: formatNumber(ms, 0) });
  return formatSeconds(ms / 1000);
}

/** Seconds: "0.42 s", "12.3 s", "3 min 5 s". */
export function formatSeconds(seconds) {
  if (seconds === null || seconds === undefined) return t("format.none");
  if (seconds < 60) return t("format.s", { value: formatNumber(seconds, seconds < 10 ? 2 : 1) });
  return t("format.min_s", { min: Math.floor(seconds / 60), s: Math.floor(seconds % 60) });
}

/** Millilitres with one digit. */
export function formatVolume(ml) {
  return ml === null || ml === undefined ? t("format.none") : t("format.ml", { value: formatNumber(ml, 1) });
}

/** Bytes: "20.3 MB" (decimal, as file managers show them). */
export function formatBytes(bytes) {
  if (bytes < 1e3) return t("format.bytes", { n: bytes });
  if (bytes < 1e6) return t("format.kb", { value: formatNumber(bytes / 1e3, 0) });
  if (bytes < 1e9) return t("format.mb", { value: formatNumber(bytes / 1e6, bytes < 1e8 ? 1 : 0) });
  return t("format.gb", { value: formatNumber(bytes / 1e9, 1) });
}

/** 0..1 as per cent. */
export function formatShare(share) {
  return t("format.percent", { value: formatNumber(100 * share, 0) });
}

/** Time of day today, else with the date. @param {number} seconds Unix time */
export function formatTime(seconds) {
  const date = new Date(1000 * seconds);
  const isToday = date.toDateString() === new Date().toDateString();
  const options = isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(currentLanguage(), options).format(date);
}

const STEPS = [
  ["day", 86400, 2 * 86400],
  ["hour", 3600, 3600],
  ["minute", 60, 0],
]; // unit, its length, said from here on

/** "in 23 hours", "2 minutes ago". @param {number} seconds Unix time */
export function formatFromNow(seconds) {
  const away = seconds - Date.now() / 1000;
  const [unit, length] = STEPS.find(([, , from]) => Math.abs(away) >= from);
  return new Intl.RelativeTimeFormat(currentLanguage(), { numeric: "auto" }).format(Math.round(away / length), unit);
}
