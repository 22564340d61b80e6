/** A camera that goes around what is seen, by mouse, fingers and keys. The patient's head stays up. */

import { clamp } from "./numbers.js";

const PER_PIXEL = 0.008; // radians
const PER_KEY = 0.12;
const NEAREST = 0.35;
const FARTHEST = 4;
const ALMOST_ABOVE = 0.001; // exactly above there would be no up

/** Where the camera stands for each named view: azimuth from the patient's left to the back, angle from the head. */
export const NAMED_VIEWS = {
  anterior: { azimuth: -Math.PI / 2, polar: Math.PI / 2 },
  left: { azimuth: 0, polar: Math.PI / 2 },
  superior: { azimuth: Math.PI / 2, polar: ALMOST_ABOVE },
};

/** Direction from the centre to the camera in LPS. @param {{azimuth: number, polar: number}} at */
export function directionOf({ azimuth, polar }) {
  return [Math.sin(polar) * Math.cos(azimuth), Math.sin(polar) * Math.sin(azimuth), Math.cos(polar)];
}

export class Orbit {
  /** @param {HTMLCanvasElement} canvas @param {() => void} onChange */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.azimuth = NAMED_VIEWS.anterior.azimuth + 0.5;
    this.polar = NAMED_VIEWS.anterior.polar - 0.2;
    this.distance = 1; // in units of what shows everything
    this._fingers = new Map();
    this._before = /** @type {any} */ (null);
    this._listen();
  }

  /** @param {keyof typeof NAMED_VIEWS} name */
  look(name) {
    Object.assign(this, NAMED_VIEWS[name]);
    this.distance = 1;
    this.onChange();
  }

  turn(azimuth, polar) {
    this.azimuth += azimuth;
    this.polar = clamp(this.polar + polar, ALMOST_ABOVE, Math.PI - ALMOST_ABOVE);
    this.onChange();
  }

  zoom(factor) {
    this.distance = clamp(this.distance * factor, NEAREST, FARTHEST);
    this.onChange();
  }

  _listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this._fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      this._before = this._hold();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this._fingers.has(event.pointerId)) {
        this._fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        this._drag(this._hold());
      }
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        this._fingers.delete(/** @type {PointerEvent} */ (event).pointerId);
        this._before = this._hold();
      });
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.001));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this._key(event));
  }

  /** Middle of the fingers and how far they are apart. */
  _hold() {
    const points = [...this._fingers.values()];
    if (points.length === 0) {
      return null;
    }
    const x = points.reduce((sum, point) => sum + point.x, 0) / points.length;
    const y = points.reduce((sum, point) => sum + point.y, 0) / points.length;
    return { x, y, apart: points.length > 1 ? Math.hypot(points[0].x - points[1].x, points[0].y - points[1].y) : 0 };
  }

  _drag(now) {
    const before = this._before;
    this._before = now;
    if (before && now) {
      if (before.apart && now.apart) {
        this.zoom(before.apart / now.apart);
      }
      this.turn((before.x - now.x) * PER_PIXEL, (before.y - now.y) * PER_PIXEL);
    }
  }

  _key(event) {
    const keys = {
      ArrowLeft: () => this.turn(-PER_KEY, 0), ArrowRight: () => this.turn(PER_KEY, 0), ArrowUp: () => this.turn(0, -PER_KEY),
      ArrowDown: () => this.turn(0, PER_KEY), "+": () => this.zoom(0.9), "=": () => this.zoom(0.9), "-": () => this.zoom(1.1), Home: () => this.look("anterior"),
    };
    const act = keys[/** @type {keyof typeof keys} */ (event.key)];
    if (act && !event.ctrlKey && !event.metaKey && !event.altKey) {
      act();
      event.preventDefault(); // and the keys of the slices leave it alone
    }
  }
}
