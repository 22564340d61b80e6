/** Surfaces in three dimensions: what is labelled, inside a head that is half transparent. Drawn only when it changes. */

import {
  AmbientLight, Box3, BufferAttribute, BufferGeometry, CanvasTexture, Color, DirectionalLight, FrontSide, Mesh, MeshLambertMaterial,
  PerspectiveCamera, Scene, Sphere, SphereGeometry, Sprite, SpriteMaterial, Vector3, WebGLRenderer,
} from "../../vendor/three/three.module.min.js";
import { directionOf, Orbit } from "./orbit.js";

const FIELD_OF_VIEW = 32;
const HEAD_COLOUR = "#d8c8b8";
// How much of the head covers what lies behind: little where one looks straight at it, more along its rim.
const HEAD_SHADING = `
  float rim = 1.0 - abs(dot(normalize(vNormal), normalize(vViewPosition)));
  diffuseColor.a = mix(0.12, 0.85, rim * rim);
  outgoingLight *= mix(0.55, 1.25, rim);
#include <opaque_fragment>`;
const OUTERMOST_OPACITY = 0.45;
const LETTER_PX = 24;
const AWAY_OPACITY = 0.2; // of the letter of a side that looks away
const SIDES = { L: [1, 0, 0], R: [-1, 0, 0], P: [0, 1, 0], A: [0, -1, 0], S: [0, 0, 1], I: [0, 0, -1] };

/** @typedef {ReturnType<import("./wire.js").readSurface>[number]} Part */

export class SurfaceScene {
  /**
   * @param {HTMLCanvasElement} canvas
   * @throws {Error} where the browser has no WebGL
   */
  constructor(canvas) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: false, powerPreference: "low-power" });
    this.renderer.setClearColor(new Color("#05080b"));
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 1, 4000);
    this.light = new DirectionalLight(0xffffff, 2.2);
    this.scene.add(new AmbientLight(0xffffff, 0.9), this.light);
    this.bounds = new Sphere(new Vector3(0, 0, 0), 100);
    this.parts = /** @type {Mesh[]} */ ([]);
    this.head = /** @type {Mesh|null} */ (null);
    this.sides = /** @type {Sprite[]} */ ([]);
    this.marker = new Mesh(new SphereGeometry(2, 12, 8), new MeshLambertMaterial({ color: "#f0e442", emissive: "#6b6400" }));
    this.scene.add(this.marker);
    this.orbit = new Orbit(canvas, () => this.draw());
    this._frame = 0;
  }

  /** Give everything back: the browser has few WebGL contexts. */
  close() {
    cancelAnimationFrame(this._frame);
    this.clear();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }

  clear() {
    for (const mesh of [...this.parts, ...(this.head ? [this.head] : [])]) {
      this.scene.remove(mesh);
      mesh.geometry.dispose();
      /** @type {MeshLambertMaterial} */ (mesh.material).dispose();
    }
    for (const side of this.sides) {
      this.scene.remove(side);
      side.material.map?.dispose();
      side.material.dispose();
    }
    this.parts = [];
    this.sides = [];
    this.head = null;
  }

  /** @param {Part[]} tumour @param {Part[]} head */
  show(tumour, head) {
    this.clear();
    this.parts = tumour.map((part) => {
      const mesh = meshOf(part, new MeshLambertMaterial({ color: part.colour }));
      mesh.userData.label = part.label;
      this.scene.add(mesh);
      return mesh;
    });
    this._letLookInside();
    if (head.length > 0) {
      this.head = meshOf(head[0], headMaterial());
      this.head.renderOrder = 2;
      this.scene.add(this.head);
    }
    this._frameAll();
    this.draw();
  }

  /** The outermost of several regions is half transparent: the others lie inside it. */
  _letLookInside() {
    if (this.parts.length < 2) {
      return;
    }
    const radius = (/** @type {Mesh} */ mesh) => mesh.geometry.boundingSphere?.radius ?? 0;
    const outermost = this.parts.reduce((a, b) => (radius(b) > radius(a) ? b : a));
    Object.assign(outermost.material, { transparent: true, opacity: OUTERMOST_OPACITY, depthWrite: false });
    outermost.renderOrder = 1;
  }

  /** @param {Map<number, string>} colours @param {ReadonlySet<number>} hidden */
  style(colours, hidden) {
    for (const mesh of this.parts) {
      const { label } = mesh.userData;
      mesh.visible = !hidden.has(label);
      /** @type {MeshLambertMaterial} */ (mesh.material).color.set(colours.get(label) ?? "#e69f00");
    }
    this.draw();
  }

  /** Where the crosshair is. @param {number[]} position LPS mm @param {boolean} isShown */
  mark(position, isShown) {
    this.marker.visible = isShown;
    this.marker.position.set(position[0], position[1], position[2]);
    this.draw();
  }

  resize(width, height) {
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / Math.max(height, 1);
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  draw() {
    this._frame ||= requestAnimationFrame(() => {
      this._frame = 0;
      this.drawNow();
    });
  }

  drawNow() {
    this._place();
    this.renderer.render(this.scene, this.camera);
  }

  _place() {
    const { center, radius } = this.bounds;
    const half = (FIELD_OF_VIEW / 2) * (Math.PI / 180);
    const narrow = Math.min(1, this.camera.aspect);
    const away = (radius * 0.98 * this.orbit.distance) / (Math.sin(half) * narrow);
    const [x, y, z] = directionOf(this.orbit);
    this.camera.up.set(0, 0, 1);
    this.camera.position.set(center.x + x * away, center.y + y * away, center.z + z * away);
    this.camera.lookAt(center);
    this.camera.near = Math.max(away - 3 * radius, 1);
    this.camera.far = away + 3 * radius;
    this.camera.updateProjectionMatrix();
    this.light.position.copy(this.camera.position).sub(center).add(new Vector3(radius * 0.6, 0, radius));
    const perPixel = (2 * away * Math.tan(half)) / Math.max(this.renderer.domElement.clientHeight, 1);
    for (const side of this.sides) {
      side.scale.setScalar(LETTER_PX * perPixel);
      const outward = side.position.clone().sub(center).normalize();
      side.material.opacity = outward.x * x + outward.y * y + outward.z * z < -0.5 ? AWAY_OPACITY : 1;
    }
  }

  _frameAll() {
    const meshes = this.head ? [this.head] : this.parts;
    if (meshes.length === 0) {
      return;
    }
    this.bounds = meshes[0].geometry.boundingSphere?.clone() ?? this.bounds;
    for (const mesh of meshes.slice(1)) {
      this.bounds.union(/** @type {Sphere} */ (mesh.geometry.boundingSphere));
    }
    const { center, radius } = this.bounds;
    const box = new Box3();
    meshes.forEach((mesh) => box.union(/** @type {Box3} */ (mesh.geometry.boundingBox)));
    const half = box.getSize(new Vector3()).multiplyScalar(0.5).addScalar(radius * 0.12);
    this.sides = Object.entries(SIDES).map(([letter, [x, y, z]]) => {
      const sprite = letterOf(letter);
      sprite.position.set(center.x + x * half.x, center.y + y * half.y, center.z + z * half.z);
      this.scene.add(sprite);
      return sprite;
    });
  }
}

/** @param {Part} part @param {MeshLambertMaterial} material */
function meshOf(part, material) {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(part.positions, 3));
  geometry.setAttribute("normal", new BufferAttribute(part.normals, 3));
  geometry.setIndex(new BufferAttribute(part.triangles, 1));
  geometry.computeBoundingBox();
  geometry.computeBoundingSphere();
  return new Mesh(geometry, material);
}

function headMaterial() {
  const material = new MeshLambertMaterial({ color: HEAD_COLOUR, transparent: true, depthWrite: false, side: FrontSide });
  material.onBeforeCompile = (shader) => {
    shader.fragmentShader = shader.fragmentShader.replace("#include <opaque_fragment>", HEAD_SHADING);
  };
  return material;
}

/** A letter that always faces the camera. @param {string} letter */
function letterOf(letter) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.font = "700 46px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 7;
  context.strokeStyle = "rgb(0 0 0 / 80%)";
  context.strokeText(letter, 32, 34);
  context.fillStyle = "#8fd0f5";
  context.fillText(letter, 32, 34);
  const sprite = new Sprite(new SpriteMaterial({ map: new CanvasTexture(canvas), transparent: true, depthTest: false, depthWrite: false }));
  sprite.renderOrder = 3;
  return sprite;
}
