/** How far two label maps agree: overlap counts, Dice, volumes and a picture of the difference. */

/** @typedef {{first: number, second: number, both: number}} Counts voxels in the first, in the second, in both */

/**
 * @param {Uint8Array|undefined} first @param {Uint8Array|undefined} second
 * @param {ReadonlySet<number>} firstValues @param {ReadonlySet<number>} secondValues labels that count
 * @returns {Counts}
 */
export function countsOf(first, second, firstValues, secondValues) {
  const [inFirst, inSecond] = [membership(firstValues), membership(secondValues)];
  const counts = { first: 0, second: 0, both: 0 };
  const size = first?.length ?? second?.length ?? 0;
  for (let n = 0; n < size; n++) {
    const a = first ? inFirst[first[n]] : 0;
    const b = second ? inSecond[second[n]] : 0;
    counts.first += a;
    counts.second += b;
    counts.both += a & b;
  }
  return counts;
}

function membership(values) {
  const table = new Uint8Array(256);
  for (const value of values) {
    table[value] = 1;
  }
  return table;
}

/** @param {Iterable<Counts>} all @returns {Counts} */
export function summed(all) {
  const sum = { first: 0, second: 0, both: 0 };
  for (const { first, second, both } of all) {
    sum.first += first;
    sum.second += second;
    sum.both += both;
  }
  return sum;
}

/** Dice coefficient; null where both are empty, as nothing can be said there. @param {Counts} counts */
export const diceOf = ({ first, second, both }) => (first + second === 0 ? null : (2 * both) / (first + second));

/**
 * Difference picture: 1 only in the first, 2 only in the second, 3 in both.
 * @param {Uint8Array} first @param {Uint8Array} second @param {number} count @param {Uint8Array} out
 * @param {ReadonlySet<number>} firstValues @param {ReadonlySet<number>} secondValues
 */
export function differenceOf(first, second, count, out, firstValues, secondValues) {
  const [inFirst, inSecond] = [membership(firstValues), membership(secondValues)];
  for (let n = 0; n < count; n++) {
    out[n] = inFirst[first[n]] | (inSecond[second[n]] << 1);
  }
  return out;
}

/**
 * Labels of two models that mean the same, by name, and everything together.
 * @param {{value: number, name: string}[]} first @param {{value: number, name: string}[]} second
 * @returns {{name: string|null, first: Set<number>, second: Set<number>}[]} name null: everything
 */
export function commonRegions(first, second) {
  const all = (/** @type {{value: number}[]} */ labels) => new Set(labels.map(({ value }) => value));
  const rows = [{ name: /** @type {string|null} */ (null), first: all(first), second: all(second) }];
  if (first.length > 1 || second.length > 1) {
    for (const label of first) {
      const same = second.find(({ name }) => name.toLowerCase() === label.name.toLowerCase());
      if (same) {
        rows.push({ name: label.name, first: new Set([label.value]), second: new Set([same.value]) });
      }
    }
  }
  return rows;
}
