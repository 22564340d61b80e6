/** Small numbers things that several modules need. */

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Rounded to a step such as 0.1. @param {number} value @param {number} digits after the point */
export const rounded = (value, digits) => Number(value.toFixed(digits));
