// A click on an atom shows its attention; the slider keeps the atom. `plot` is the figure.
const { atom, atoms, names, views, places, radii, weights, images, corners, most } = plot.layout.meta;
const state = { row: atoms.indexOf(atom), view: 0 };
const slots = new Map(atoms.map((each, row) => [each, row]));

function repeated(values) {
  return values.flatMap((value) => Array(corners).fill(value));
}

// Lines with two barbs from the atoms read most to the one that reads, as in scene_lines.py.
function arrows(share) {
  const reader = atoms[state.row], end = places[reader];
  const start = (j) => images[state.row][j] || places[j];
  const apart = (j) => end.map((v, x) => v - start(j)[x]);
  const order = share.map((_, j) => j).filter((j) => share[j] > 0 && Math.hypot(...apart(j)) > 0);
  order.sort((i, j) => share[j] - share[i]);
  const points = [], rings = [];
  for (const j of order.slice(0, most)) {
    const along = apart(j), length = Math.hypot(...along), unit = along.map((v) => v / length);
    const tip = end.map((v, x) => v - radii[reader] * unit[x]);
    const least = unit.map(Math.abs).indexOf(Math.min(...unit.map(Math.abs)));
    const helper = [0, 1, 2].map((x) => Number(x === least));
    const side = [1, 2, 0].map((x, n) => { const y = (n + 2) % 3; return unit[x] * helper[y] - unit[y] * helper[x]; });
    const barb = (sign) => tip.map((v, x) => v - 0.3 * unit[x] + sign * 0.15 * side[x]);
    points.push(start(j), tip, barb(1), tip, barb(-1), [null, null, null]);
    rings.push(images[state.row][j] ? 9 : 0, 0, 0, 0, 0, 0);
  }
  return [points, rings];
}

function show() {
  const row = weights[state.view][state.row];
  const sum = row.reduce((total, value) => total + Math.abs(value), 0) || 1;
  const share = row.map((value) => Math.abs(value) / sum);
  const [points, rings] = arrows(share);
  Plotly.restyle(plot, { intensity: [repeated(share)], customdata: [repeated(row)], cmax: [Math.max(...share) || 1] }, [2]);
  Plotly.restyle(plot, {
    x: [points.map((p) => p[0])], y: [points.map((p) => p[1])], z: [points.map((p) => p[2])],
    "marker.size": [rings], name: [`most read by ${names[atoms[state.row]]}`],
  }, [3]);
}

// From here on the slider is ours: a frame would bring back the first atom.
const steps = plot.layout.sliders[0].steps.map((step) => ({ ...step, method: "skip" }));
Plotly.relayout(plot, { "sliders[0].steps": steps });
plot.on("plotly_sliderchange", (event) => {
  state.view = views.indexOf(event.step.label);
  show();
});
// plotly drops clicks shorter than a frame, so that what the pointer rests on counts too.
let hovered = -1, pressed = [0, 0];
function atomOf(event) {
  const { curveNumber, pointNumber } = event.points[0];
  return [2, 4].includes(curveNumber) ? Math.floor(pointNumber / corners) : -1;
}
function choose(hit) {
  if (!slots.has(hit) || state.row === slots.get(hit)) return;
  state.row = slots.get(hit);
  show();
}
plot.on("plotly_click", (event) => choose(atomOf(event)));
plot.on("plotly_hover", (event) => { hovered = atomOf(event); });
plot.on("plotly_unhover", () => { hovered = -1; });
plot.addEventListener("pointerdown", (event) => { pressed = [event.clientX, event.clientY]; }, true);
plot.addEventListener("pointerup", (event) => {
  if (Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4) choose(hovered);
}, true);
plot.dataset.ready = "yes";
