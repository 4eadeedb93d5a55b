// The map: points by WebGL2, which needs no graphics card; where there is none of it, by a plain canvas.

import { named } from "./colours.js";

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour; in float state;
uniform vec2 centre, scale; uniform float size, wanted;
out vec4 shade;
void main() {
  bool is_drawn = state == wanted && place.x == place.x;
  gl_Position = is_drawn ? vec4((place - centre) * scale, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
  shade = colour;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 shade; uniform vec4 tint; out vec4 result;
void main() {
  float far = length(gl_PointCoord - 0.5);
  if (far > 0.5) discard;
  float alpha = smoothstep(0.5, 0.38, far);
  vec3 colour = tint.a > 0.0 ? tint.rgb : shade.rgb;
  float strength = (tint.a > 0.0 ? tint.a : 0.9) * alpha;
  result = vec4(colour * strength, strength);
}`;
// Pixels at the edges that a whole map leaves free; the choices stand at the top.
const EDGE = { x: 24, top: 54, bottom: 30 };
const PICK_PIXELS = 14;
const ZOOM = 1.3;

export class Scatter {
  constructor(canvas, over, places) {
    this.canvas = canvas;
    this.over = over;
    this.places = places;
    this.numRows = places.length / 2;
    this.states = new Uint8Array(this.numRows).fill(1);
    this.colours = new Uint8Array(4 * this.numRows);
    this.marked = [];
    this.outline = null;
    this.gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (this.gl) this.prepare();
    else this.pen = canvas.getContext("2d");
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      this.upload();
    });
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
    this.fit();
  }

  prepare() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    const at = (name) => gl.getUniformLocation(program, name);
    this.uniforms = { centre: at("centre"), scale: at("scale"), size: at("size"), wanted: at("wanted"), tint: at("tint") };
    this.buffers = {};
    for (const [name, count, type, normal] of [
      ["place", 2, gl.FLOAT, false], ["colour", 4, gl.UNSIGNED_BYTE, true], ["state", 1, gl.UNSIGNED_BYTE, false],
    ]) {
      const where = gl.getAttribLocation(program, name);
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, count, type, normal, 0, 0);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.put("place", this.places);
  }

  put(name, values) {
    if (!this.gl) return;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[name]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.DYNAMIC_DRAW);
  }

  upload() {
    this.put("place", this.places);
    this.put("colour", this.colours);
    this.put("state", this.states);
    this.draw();
  }

  setColours(colours) {
    this.colours = colours;
    this.put("colour", colours);
    this.draw();
  }

  // `fails`: 0 for rows that are shown.
  setShown(fails) {
    for (let row = 0; row < this.numRows; row++) this.states[row] = fails[row] === 0 ? 1 : 0;
    this.put("state", this.states);
    this.draw();
  }

  setMarked(rows) {
    this.marked = rows;
    this.draw();
  }

  setOutline(points, isClosed) {
    this.outline = points && { points, isClosed };
    this.drawOver();
  }

  resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.dpr = Math.min(window.devicePixelRatio || 1, 2);
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.round(this.width * this.dpr);
      canvas.height = Math.round(this.height * this.dpr);
    }
    this.draw();
  }

  fit() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let row = 0; row < this.numRows; row++) {
      const x = this.places[2 * row];
      const y = this.places[2 * row + 1];
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < low) low = y;
      if (y > high) high = y;
    }
    if (left > right) [left, right, low, high] = [-1, 1, -1, 1];
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.span = [Math.max(right - left, 1e-6), Math.max(high - low, 1e-6)];
    this.zoom = 1;
    this.centre[1] += (EDGE.top - EDGE.bottom) / 2 / this.unit;
    this.draw();
  }

  // Pixels of CSS per unit of the plane.
  get unit() {
    const free = [Math.max(40, this.width - 2 * EDGE.x), Math.max(40, this.height - EDGE.top - EDGE.bottom)];
    return this.zoom * Math.min(free[0] / this.span[0], free[1] / this.span[1]);
  }

  toScreen(row) {
    const x = (this.places[2 * row] - this.centre[0]) * this.unit + this.width / 2;
    return [x, this.height / 2 - (this.places[2 * row + 1] - this.centre[1]) * this.unit];
  }

  toPlane([x, y]) {
    return [(x - this.width / 2) / this.unit + this.centre[0], (this.height / 2 - y) / this.unit + this.centre[1]];
  }

  pan(dx, dy) {
    this.centre = [this.centre[0] - dx / this.unit, this.centre[1] + dy / this.unit];
    this.draw();
  }

  zoomAt(point, factor) {
    const before = this.toPlane(point);
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), 500);
    const after = this.toPlane(point);
    this.centre = [this.centre[0] + before[0] - after[0], this.centre[1] + before[1] - after[1]];
    this.draw();
  }

  zoomIn(isIn) {
    this.zoomAt([this.width / 2, this.height / 2], isIn ? ZOOM : 1 / ZOOM);
  }

  // Keep a row in view.
  reveal(row) {
    const [x, y] = this.toScreen(row);
    if (Number.isFinite(x) && (x < 20 || y < 20 || x > this.width - 20 || y > this.height - 20)) {
      this.centre = [this.places[2 * row], this.places[2 * row + 1]];
      this.draw();
    }
  }

  get pointSize() {
    const base = Math.min(Math.max(60 / Math.sqrt(Math.sqrt(this.numRows) + 50), 2.2), 7.5);
    return Math.min(base * Math.pow(this.zoom, 0.25), 14);
  }

  // The shown row nearest to a point of the screen; -1 where none is near.
  pick([x, y]) {
    const [left, top] = this.toPlane([x, y]);
    const far = Math.max(PICK_PIXELS, this.pointSize) / this.unit;
    let best = far * far;
    let found = -1;
    for (let row = 0; row < this.numRows; row++) {
      if (this.states[row] !== 1) continue;
      const dx = this.places[2 * row] - left;
      const dy = this.places[2 * row + 1] - top;
      const distance = dx * dx + dy * dy;
      if (distance <= best) {
        best = distance;
        found = row;
      }
    }
    return found;
  }

  // Marks of the rows inside of an outline of points of the screen.
  inside(outline) {
    const points = outline.map((point) => this.toPlane(point));
    const marks = new Uint8Array(this.numRows);
    const xs = points.map(([x]) => x);
    const ys = points.map(([, y]) => y);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let row = 0; row < this.numRows; row++) {
      const x = this.places[2 * row];
      const y = this.places[2 * row + 1];
      if (!(x >= left && x <= right && y >= low && y <= high)) continue;
      let is = 0;
      for (let at = 0, before = points.length - 1; at < points.length; before = at++) {
        const [x1, y1] = points[at];
        const [x2, y2] = points[before];
        if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) is ^= 1;
      }
      marks[row] = is;
    }
    return marks;
  }

  draw() {
    if (this.isWaiting || !this.span) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      if (this.gl) this.drawPoints();
      else this.drawPlain();
      this.drawOver();
    });
  }

  drawPoints() {
    const gl = this.gl;
    if (gl.isContextLost()) return;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.uniforms.centre, ...this.centre);
    gl.uniform2f(this.uniforms.scale, (2 * this.unit) / this.width, (2 * this.unit) / this.height);
    const faint = named("--faint").map((part) => part / 255);
    for (const [wanted, tint, size] of [[0, [...faint, 0.5], 0.8], [1, [0, 0, 0, 0], 1]]) {
      gl.uniform1f(this.uniforms.wanted, wanted);
      gl.uniform4f(this.uniforms.tint, ...tint);
      gl.uniform1f(this.uniforms.size, this.pointSize * this.dpr * size);
      gl.drawArrays(gl.POINTS, 0, this.numRows);
    }
  }

  drawPlain() {
    const pen = this.pen;
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const size = this.pointSize * this.dpr;
    const faint = named("--faint");
    for (const wanted of [0, 1]) {
      for (let row = 0; row < this.numRows; row++) {
        const [x, y] = this.toScreen(row);
        if (this.states[row] !== wanted || !(x > 0 && y > 0 && x < this.width && y < this.height)) continue;
        const part = wanted ? this.colours.subarray(4 * row, 4 * row + 3) : faint;
        pen.fillStyle = `rgb(${part.join(" ")})`;
        pen.fillRect(x * this.dpr - size / 2, y * this.dpr - size / 2, size, size);
      }
    }
  }

  drawOver() {
    const pen = this.over.getContext("2d");
    pen.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const ink = `rgb(${named("--ink").join(" ")})`;
    this.marked.forEach((row, number) => {
      const [x, y] = this.toScreen(row);
      if (!Number.isFinite(x)) return;
      pen.beginPath();
      pen.arc(x, y, this.pointSize / 2 + (number ? 2.5 : 5), 0, 2 * Math.PI);
      pen.lineWidth = number ? 1.2 : 2.4;
      pen.strokeStyle = ink;
      pen.stroke();
    });
    if (this.outline && this.outline.points.length > 1) {
      pen.beginPath();
      this.outline.points.forEach(([x, y], number) => (number ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      if (this.outline.isClosed) pen.closePath();
      pen.strokeStyle = `rgb(${named("--accent").join(" ")})`;
      pen.lineWidth = 1.5;
      pen.stroke();
      pen.fillStyle = `rgb(${named("--accent").join(" ")} / 0.08)`;
      pen.fill();
    }
  }
}
