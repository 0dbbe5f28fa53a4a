"use strict";
// The structure on a canvas: orthographic, painter's order, no WebGL.
const Scene = (() => {
  const { content, pos, n, names, nearest } = Report;
  const canvas = document.getElementById("scene");
  const pen = canvas.getContext("2d");
  const radii = content.z.map((z) => 0.55 * content.elements[z].radius + 0.12);
  const home = { yaw: -0.45, tilt: 1.25, zoom: 1 };
  const view = { ...home };
  const state = { fills: null, chosen: 0, arrows: [], cell: true };
  const screen = new Float64Array(3 * n);
  const order = Array.from({ length: n }, (_, i) => i);
  // Half the width and height that the atoms take, however they are turned about z.
  let wide = 1, high = 1;
  for (let i = 0; i < n; i++) {
    const across = Math.hypot(pos[3 * i], pos[3 * i + 1]);
    wide = Math.max(wide, across + radii[i]);
    high = Math.max(high, Math.abs(Math.cos(home.tilt)) * across + Math.abs(Math.sin(home.tilt) * pos[3 * i + 2]) + radii[i]);
  }
  let listener = () => {};
  let waiting = false;

  const corner = content.cell && content.pbc.some(Boolean) ? cellCorner() : null;

  // The cell is drawn around the atoms: its corner below the lowest fractional places.
  function cellCorner() {
    const m = content.cell;
    const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
    const volume = dot(m[0], cross(m[1], m[2]));
    if (!volume) return null;
    const rows = [cross(m[1], m[2]), cross(m[2], m[0]), cross(m[0], m[1])];
    const middle = rows.map((row) => {
      let low = Infinity, high = -Infinity;
      for (let i = 0; i < n; i++) {
        const f = (row[0] * pos[3 * i] + row[1] * pos[3 * i + 1] + row[2] * pos[3 * i + 2]) / volume;
        low = Math.min(low, f); high = Math.max(high, f);
      }
      return (low + high) / 2 - 0.5;
    });
    return [0, 1, 2].map((x) => middle[0] * m[0][x] + middle[1] * m[1][x] + middle[2] * m[2][x]);
  }

  function project(x, y, z, size) {
    const c = Math.cos(view.yaw), s = Math.sin(view.yaw);
    const u = c * x - s * y, v = s * x + c * y;
    const ct = Math.cos(view.tilt), st = Math.sin(view.tilt);
    return [size.x + size.unit * u, size.y - size.unit * (ct * v + st * z), st * v - ct * z];
  }

  function layout() {
    const ratio = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    const w = Math.round(box.width * ratio), h = Math.round(box.height * ratio);
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    return { w, h, ratio, x: w / 2, y: h / 2, unit: view.zoom * 0.47 * Math.min(w / wide, h / high) };
  }

  function line(a, b, colour, width) {
    pen.strokeStyle = colour; pen.lineWidth = width;
    pen.beginPath(); pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]); pen.stroke();
  }

  function place(i) { return [screen[3 * i], screen[3 * i + 1]]; }

  function drawCell(size) {
    if (!corner || !state.cell) return;
    const m = content.cell;
    const at = (i, j, k) => project(...[0, 1, 2].map((x) => corner[x] + i * m[0][x] + j * m[1][x] + k * m[2][x]), size);
    for (const p of [0, 1]) for (const q of [0, 1]) {
      for (const ends of [[[0, p, q], [1, p, q]], [[p, 0, q], [p, 1, q]], [[p, q, 0], [p, q, 1]]])
        line(at(...ends[0]), at(...ends[1]), "#b9c3cd", size.ratio);
    }
  }

  function drawAtom(i, size, labelled) {
    const [x, y] = place(i);
    const r = radii[i] * size.unit;
    pen.beginPath(); pen.arc(x, y, r, 0, 6.2832);
    pen.fillStyle = state.fills ? state.fills[i] : content.elements[content.z[i]].colour;
    pen.fill();
    pen.lineWidth = (i === state.chosen ? 3.5 : 0.8) * size.ratio;
    pen.strokeStyle = i === state.chosen ? "#009e73" : "#46525e";
    pen.stroke();
    if (labelled && r > 9 * size.ratio) {
      pen.fillStyle = dark(pen.fillStyle) ? "#1d2733" : "#ffffff";
      pen.font = `${Math.min(13 * size.ratio, r)}px sans-serif`;
      pen.fillText(content.elements[content.z[i]].symbol, x, y);
    }
  }

  // Whether ink on a fill "#rrggbb" should be dark.
  function dark(fill) {
    const v = parseInt(fill.slice(1), 16);
    return 0.3 * (v >> 16) + 0.59 * ((v >> 8) & 255) + 0.11 * (v & 255) > 135;
  }

  // An arrow to atom `to` from the nearest image of `from`: a dashed ring if it is not drawn.
  function drawArrow(from, to, strength, size) {
    const apart = nearest(to, from), start = [0, 1, 2].map((x) => pos[3 * to + x] - apart[x]);
    const a = project(...start, size), b = place(to);
    if (Math.hypot(...start.map((v, x) => v - pos[3 * from + x])) > 0.01) {
      pen.setLineDash([4 * size.ratio, 3 * size.ratio]);
      pen.strokeStyle = "#d55e00"; pen.lineWidth = size.ratio;
      pen.beginPath(); pen.arc(a[0], a[1], radii[from] * size.unit, 0, 6.2832); pen.stroke();
      pen.setLineDash([]);
    }
    const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
    if (length < 1) return;
    const u = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
    const end = length - radii[to] * size.unit, head = 9 * size.ratio;
    if (end <= head) return;
    const tip = [a[0] + u[0] * end, a[1] + u[1] * end];
    pen.globalAlpha = 0.35 + 0.6 * strength;
    line(a, [tip[0] - 0.6 * head * u[0], tip[1] - 0.6 * head * u[1]], "#d55e00", (1.2 + 3 * strength) * size.ratio);
    pen.fillStyle = "#d55e00";
    pen.beginPath(); pen.moveTo(tip[0], tip[1]);
    for (const side of [1, -1]) pen.lineTo(tip[0] - head * u[0] - side * 0.45 * head * u[1], tip[1] - head * u[1] + side * 0.45 * head * u[0]);
    pen.closePath(); pen.fill(); pen.globalAlpha = 1;
  }

  function draw() {
    waiting = false;
    const size = layout();
    pen.clearRect(0, 0, size.w, size.h);
    pen.textAlign = "center"; pen.textBaseline = "middle"; pen.lineCap = "round";
    for (let i = 0; i < n; i++) {
      const p = project(pos[3 * i], pos[3 * i + 1], pos[3 * i + 2], size);
      screen[3 * i] = p[0]; screen[3 * i + 1] = p[1]; screen[3 * i + 2] = p[2];
    }
    order.sort((i, j) => screen[3 * j + 2] - screen[3 * i + 2]);
    drawCell(size);
    for (let k = 0; k < content.bonds.length; k += 2)
      line(place(content.bonds[k]), place(content.bonds[k + 1]), "#a7b1bb", 0.16 * size.unit);
    for (const i of order) drawAtom(i, size, n <= 400);
    for (const arrow of state.arrows) drawArrow(arrow.from, state.chosen, arrow.strength, size);
  }

  function redraw() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }

  function atomAt(x, y) {
    const size = layout();
    for (let k = n - 1; k >= 0; k--) {
      const i = order[k];
      const [u, v] = place(i);
      if (Math.hypot(u - x * size.ratio, v - y * size.ratio) <= Math.max(radii[i] * size.unit, 4 * size.ratio)) return i;
    }
    return -1;
  }

  let grip = null;
  canvas.addEventListener("pointerdown", (event) => {
    grip = { x: event.clientX, y: event.clientY, moved: 0 };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grip) {
      const i = atomAt(event.offsetX, event.offsetY);
      canvas.title = i < 0 ? "" : names[i];
      return;
    }
    const dx = event.clientX - grip.x, dy = event.clientY - grip.y;
    grip = { x: event.clientX, y: event.clientY, moved: grip.moved + Math.abs(dx) + Math.abs(dy) };
    view.yaw += dx * 0.008; view.tilt -= dy * 0.008;
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (grip && grip.moved < 5) {
      const i = atomAt(event.offsetX, event.offsetY);
      if (i >= 0) listener(i);
    }
    grip = null;
  });
  canvas.addEventListener("pointercancel", () => { grip = null; });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return; // let the page scroll
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0015));
  }, { passive: false });

  function zoom(factor) { view.zoom = Math.min(20, Math.max(0.3, view.zoom * factor)); redraw(); }

  const keys = {
    ArrowLeft: () => { view.yaw -= 0.12; }, ArrowRight: () => { view.yaw += 0.12; },
    ArrowUp: () => { view.tilt += 0.12; }, ArrowDown: () => { view.tilt -= 0.12; },
    "+": () => zoom(1.2), "=": () => zoom(1.2), "-": () => zoom(1 / 1.2),
    Home: () => Object.assign(view, home),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); keys[event.key](); redraw();
  });
  new ResizeObserver(redraw).observe(canvas);

  return {
    onChoose(callback) { listener = callback; },
    show(changes) { Object.assign(state, changes); redraw(); },
    // Where atom i is, in CSS pixels from the top left corner of the canvas.
    whereIs(i) { draw(); const { ratio } = layout(); return place(i).map((v) => v / ratio); },
    frontmost(x, y) { return atomAt(x, y); },
    draw, view,
  };
})();
