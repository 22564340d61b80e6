/** Colours of regions and of probabilities. */

/**
 * Okabe and Ito, 2008, https://jfly.uni-koeln.de/color/: told apart with every common kind of colour vision.
 * Without black and grey, which a picture of MR has already.
 */
export const OKABE_ITO = ["#e69f00", "#56b4e9", "#d55e00", "#009e73", "#f0e442", "#0072b2", "#cc79a7"];

/** Only the first segmentation, only the second, both. */
export const DIFFERENCE = { 1: "#e69f00", 2: "#0072b2", 3: "#009e73" };

// Viridis by S. van der Walt and N. Smith (CC0), every ninth of its way; between them it is close to straight.
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const INVISIBLE_BELOW = 0.02;
const OPAQUE_FROM = 0.12;

/** @param {string} colour "#rrggbb" @returns {[number, number, number]} */
export function rgbOf(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** As a pixel of ImageData on a little-endian machine, which every browser runs on. */
const pixel = (/** @type {number[]} */ [red, green, blue], /** @type {number} */ alpha) =>
  ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** Colour of a fraction on the perceptually uniform map. @param {number} fraction 0..1 @returns {[number, number, number]} */
export function viridis(fraction) {
  const at = Math.min(Math.max(fraction, 0), 1) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const [from, to] = [rgbOf(VIRIDIS[below]), rgbOf(VIRIDIS[below + 1])];
  return /** @type {any} */ (from.map((channel, n) => Math.round(channel + (to[n] - channel) * (at - below))));
}

/** Pixels for the 256 steps of a probability; small ones fade out, so that the image stays to be seen. */
export function probabilityTable() {
  return Uint32Array.from({ length: 256 }, (_, step) => {
    const fraction = step / 255;
    const alpha = (fraction - INVISIBLE_BELOW) / (OPAQUE_FROM - INVISIBLE_BELOW);
    return pixel(viridis(fraction), Math.round(255 * Math.min(Math.max(alpha, 0), 1)));
  });
}

/**
 * Pixels for the 256 values of a label map; background and hidden labels are transparent.
 * @param {{value: number, colour: string}[]} labels @param {ReadonlySet<number>} [hidden]
 */
export function labelTable(labels, hidden = new Set()) {
  const table = new Uint32Array(256);
  for (const { value, colour } of labels) {
    table[value] = hidden.has(value) ? 0 : pixel(rgbOf(colour), 255);
  }
  return table;
}

/**
 * Colour of each label by the chosen palette.
 * @param {{value: number, colour?: string}[]} labels @param {"safe"|"card"} palette
 * @returns {Map<number, string>}
 */
export function coloursOf(labels, palette) {
  return new Map(labels.map(({ value, colour }, n) =>
    [value, palette === "card" && colour ? colour : OKABE_ITO[n % OKABE_ITO.length]]));
}
