// What a person dropped or picked: its files, whether the node will take them, before anything is sent.

import { formatBytes } from "../format.js";
import { t } from "../i18n.js";

// Left behind by file managers, and of no use to anybody.
const LITTER = /(^|\/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(\/|$)/i;
const KINDS = [
  ["nifti", /\.nii(\.gz)?$/i],
  ["zip", /\.zip$/i],
  ["picture", /\.(png|jpe?g)$/i],
  [
    "other",
    /\.(pdf|docx?|xlsx?|pptx?|txt|rtf|html?|exe|dll|mp4|mov|avi|csv|json|xml|mat|mgz|nrrd|mha|rar|7z|tar|gz|bz2)$/i,
  ],
];

/** @typedef {{file: File, path: string}} Chosen */

/** What a file is by its name; DICOM has often none that says so, and is what remains. */
export function kindOf(path) {
  return KINDS.find(([, pattern]) => pattern.test(path))?.[0] ?? "dicom";
}

/** Leave litter out. @param {Chosen[]} chosen @returns {Chosen[]} */
export function withoutLitter(chosen) {
  return chosen.filter(({ path }) => !LITTER.test(path));
}

/** Files of an input element. @returns {Chosen[]} */
export function fromInput(input) {
  return [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** Files of a drop, folders included. @param {DataTransfer} transfer @returns {Promise<Chosen[]>} */
export async function fromDrop(transfer) {
  // The entries must be taken before the first wait: the list is empty afterwards.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) return [{ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives at most a hundred at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(walk))).flat());
  }
}

/**
 * @param {Chosen[]} chosen
 * @returns {{n: number, bytes: number, kinds: Array<[string, number]>}}
 */
export function summarise(chosen) {
  const kinds = new Map();
  for (const { path } of chosen) kinds.set(kindOf(path), (kinds.get(kindOf(path)) ?? 0) + 1);
  return {
    n: chosen.length,
    bytes: chosen.reduce((sum, { file }) => sum + file.size, 0),
    kinds: [...kinds].sort((a, b) => b[1] - a[1]),
  };
}

/**
 * Why the node would refuse these files; null where it would not.
 * @param {Chosen[]} chosen
 * @param {{upload_bytes?: number, upload_files?: number}} limits
 * @returns {{text: string, detail: string}|null}
 */
export function problemOf(chosen, limits) {
  const { n, bytes, kinds } = summarise(chosen);
  if (n === 0) return { text: t("upload.nothing"), detail: t("upload.nothing_remedy") };
  if (bytes === 0) return { text: t("upload.no_content"), detail: t("upload.no_content_remedy") };
  if (limits.upload_files && n > limits.upload_files) {
    return { text: t("upload.too_many", { n, limit: limits.upload_files }), detail: t("upload.too_many_remedy") };
  }
  if (limits.upload_bytes && bytes > limits.upload_bytes) {
    return {
      text: t("upload.too_large", { size: formatBytes(bytes), limit: formatBytes(limits.upload_bytes) }),
      detail: t("upload.too_large_remedy"),
    };
  }
  if (kinds.every(([kind]) => kind === "other"))
    return { text: t("upload.not_readable"), detail: t("upload.accepted") };
  return null;
}
