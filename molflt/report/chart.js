"use strict";
// Curves as SVG: axes with units, ticks, a legend below.
const Chart = (() => {
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800"];
  const W = 420, H = 250, LEFT = 52, RIGHT = 20, TOP = 10, BOTTOM = 42;

  function element(name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function ticks(low, high, count) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const out = [];
    for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9 * step; t += step) out.push(Number(t.toPrecision(6)));
    return out;
  }

  function draw(parent, { title, x, curves, labels, xLabel, yLabel, dashed }) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    const rows = Math.ceil(labels.length / 6);
    const height = H + 18 * rows;
    const svg = element("svg", { viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": `${title}: ${yLabel} against ${xLabel}`, "font-size": 12, "font-family": "inherit" });
    const end = x[x.length - 1];
    const px = (v) => LEFT + ((W - LEFT - RIGHT) * v) / end;
    const py = (v) => TOP + ((H - TOP - BOTTOM) * (1.08 - v)) / 2.16;
    for (const t of [-1, -0.5, 0, 0.5, 1]) {
      svg.append(element("line", { x1: LEFT, x2: W - RIGHT, y1: py(t), y2: py(t), stroke: t === 0 ? "#9aa7b3" : "#e8ecf0" }));
      svg.append(element("text", { x: LEFT - 6, y: py(t) + 4, "text-anchor": "end", fill: "#1d2733" }, String(t).replace("-", "−")));
    }
    for (const t of ticks(0, end, 6)) {
      svg.append(element("line", { x1: px(t), x2: px(t), y1: H - BOTTOM, y2: H - BOTTOM + 4, stroke: "#5b6875" }));
      svg.append(element("text", { x: px(t), y: H - BOTTOM + 17, "text-anchor": "middle", fill: "#1d2733" }, String(t)));
    }
    svg.append(element("line", { x1: LEFT, x2: W - RIGHT, y1: H - BOTTOM, y2: H - BOTTOM, stroke: "#5b6875" }));
    svg.append(element("text", { x: (LEFT + W - RIGHT) / 2, y: H - 6, "text-anchor": "middle", fill: "#1d2733" }, xLabel));
    svg.append(element("text", { transform: `translate(12 ${(TOP + H - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle", fill: "#1d2733" }, yLabel));
    // The second eight of a kind have the colours of the first, and other lines.
    const dash = (k) => (dashed ? ["6 3", "6 2 1.5 2"] : ["none", "1.5 1.5"])[Math.floor(k / COLOURS.length) % 2];
    curves.forEach((curve, k) => {
      const points = curve.map((v, i) => `${px(x[i]).toFixed(1)},${py(v).toFixed(1)}`).join(" ");
      const line = element("polyline", { points, fill: "none", stroke: COLOURS[k % COLOURS.length], "stroke-width": 1.7, "stroke-dasharray": dash(k) });
      line.append(element("title", {}, labels[k]));
      svg.append(line);
      const col = k % 6, row = Math.floor(k / 6), left = LEFT - 6 + col * 61, y = H + 12 + 18 * row;
      svg.append(element("line", { x1: left, x2: left + 15, y1: y - 4, y2: y - 4, stroke: COLOURS[k % COLOURS.length], "stroke-width": 2.4, "stroke-dasharray": dash(k) }));
      svg.append(element("text", { x: left + 19, y, "font-size": 11, fill: "#1d2733" }, labels[k]));
    });
    figure.append(caption, svg);
    parent.append(figure);
  }

  return { draw };
})();
