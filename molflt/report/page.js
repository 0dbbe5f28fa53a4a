"use strict";
// What the controls do.
(() => {
  const { content, n, names, layers, slot, row, shares, distance, signed } = Report;
  const $ = (id) => document.getElementById(id);
  const unit = content.target.unit;
  const BLUES = ["#f7fbff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"];
  const PUOR = ["#7f3b08", "#e08214", "#f7f7f7", "#8073ac", "#2d004b"];

  function blend(stops, t) {
    const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2), part = at - k;
    const [a, b] = [stops[k], stops[k + 1]].map((s) => parseInt(s.slice(1), 16));
    const mix = (shift) => Math.round(((a >> shift) & 255) * (1 - part) + ((b >> shift) & 255) * part);
    return `#${((1 << 24) | (mix(16) << 16) | (mix(8) << 8) | mix(0)).toString(16).slice(1)}`;
  }

  const digits = (v) => {
    if (v === 0) return "0";
    const text = Math.abs(v) >= 1e-3 && Math.abs(v) < 1e4 ? v.toPrecision(3) : v.toExponential(1);
    return text.replace(/-/g, "−");
  };

  function cells(line, values) {
    for (const value of values) {
      const cell = line.insertCell();
      if (typeof value === "number" && value >= 0 && Number.isInteger(value)) {
        const button = document.createElement("button");
        button.type = "button"; button.className = "atom"; button.textContent = names[value];
        button.addEventListener("click", () => choose(value));
        cell.append(button);
      } else cell.textContent = value;
    }
  }

  const state = { atom: content.start, layer: layers.length - 1, head: 0, colour: "share" };

  function channels() {
    const heads = layers[state.layer].heads;
    return (state.head ? [heads[state.head - 1]] : heads).map((head) => head.channel);
  }

  const modes = {
    share: "share of attention",
    weight: "attention weight, with its sign",
    effect: `effect of the messages on the ${content.target.name}`,
    learned: "contribution, learned part",
    force: "size of the force",
    element: "element",
  };

  // Values of all atoms for the colours, the label of the scale, whether they have a sign.
  function values() {
    const kept = slot[state.atom] >= 0;
    const who = names[state.atom];
    const layer = layers[state.layer];
    if (state.colour === "share" && kept)
      return { v: shares(channels(), state.atom), label: `share of what ${who} reads, |a| / Σ|a| (dimensionless)`, sign: false };
    if (state.colour === "weight" && kept && state.head)
      return { v: row(channels()[0], state.atom).values, label: `weight a with which ${who} reads (dimensionless, ${signed ? "signed, not normalised" : "normalised"})`, sign: signed };
    if (state.colour === "effect" && kept && layer.effect >= 0)
      return { v: row(layer.effect, state.atom).values, label: `first-order effect [${unit}] of messages to ${who}, all heads of layer ${state.layer + 1}`, sign: true };
    if (state.colour === "learned") return { v: content.learned, label: `learned contribution [${unit}]`, sign: true };
    if (state.colour === "force" && content.forces)
      return { v: content.learned.map((_, i) => Math.hypot(...content.forces.slice(3 * i, 3 * i + 3))), label: `force [${unit}/Å]`, sign: false };
    return null;
  }

  function paint() {
    const found = values();
    const share = slot[state.atom] >= 0 ? shares(channels(), state.atom) : null;
    const order = share ? Array.from(share.keys()).sort((i, j) => share[j] - share[i]).filter((j) => share[j] > 0) : [];
    const arrows = $("arrows").checked && share
      ? order.filter((j) => j !== state.atom).slice(0, 8).map((j) => ({ from: j, strength: share[j] / share[order[0]] })) : [];
    let fills = null, low = "", high = "", bar = "none";
    if (found) {
      let end = 0;
      for (const value of found.v) end = Math.max(end, Math.abs(value));
      const stops = found.sign ? PUOR : BLUES;
      fills = Array.from(found.v, (value) => blend(stops, end ? (found.sign ? (value / end + 1) / 2 : Math.abs(value) / end) : found.sign ? 0.5 : 0));
      low = found.sign ? digits(-end) : "0"; high = digits(end);
      bar = `linear-gradient(to right, ${stops.join(",")})`;
    }
    $("scale-low").textContent = low; $("scale-high").textContent = high;
    $("scale-bar").style.background = bar;
    $("scale-label").textContent = found ? found.label : "colours of the elements";
    Scene.show({ fills, chosen: state.atom, arrows, cell: $("cell").checked });
    table(share, order);
    status(share, order);
  }

  function table(share, order) {
    const body = $("strongest").tBodies[0];
    body.replaceChildren();
    const effect = layers[state.layer].effect >= 0 && share ? row(layers[state.layer].effect, state.atom).values : null;
    const single = state.head && share ? row(channels()[0], state.atom).values : null;
    $("weight-head").textContent = single ? "weight" : effect ? `effect [${unit}]` : "";
    for (const j of order.slice(0, 8)) {
      const last = single ? digits(single[j]) : effect ? digits(effect[j]) : "";
      cells(body.insertRow(), [j, distance(state.atom, j).toFixed(2), `${(100 * share[j]).toFixed(1)} %`, last]);
    }
  }

  function status(share, order) {
    const head = state.head ? layers[state.layer].heads[state.head - 1].name : "all heads, mean";
    $("layer-name").textContent = `${state.layer + 1} of ${layers.length}`;
    $("head-name").textContent = head;
    $("layer").setAttribute("aria-valuetext", `layer ${state.layer + 1}`);
    $("head").setAttribute("aria-valuetext", head);
    const who = `${names[state.atom]}, layer ${state.layer + 1}, ${head}: `;
    const term = `It adds ${digits(content.learned[state.atom])} ${unit} to the ${content.target.name} (learned part).`;
    if (!share) $("status").textContent = `${names[state.atom]}: its attention is not on this page. ${term}`;
    else if (!order.length) $("status").textContent = `${who}it reads no atom (no neighbours). ${term}`;
    else $("status").textContent = `${who}reads ${names[order[0]]} most, ${(100 * share[order[0]]).toFixed(1)} % of its attention. ${term}`;
  }

  function choose(atom) {
    state.atom = atom;
    $("atom").value = String(atom);
    paint();
  }

  function fillControls() {
    const options = document.createDocumentFragment();
    names.forEach((name, i) => {
      const option = new Option(slot[i] < 0 ? `${name} (attention left out)` : name, String(i));
      options.append(option);
    });
    $("atom").append(options);
    for (const [key, text] of Object.entries(modes)) {
      if (key === "force" && !content.forces) continue;
      if (key === "effect" && layers[0].effect < 0) continue;
      $("colour").append(new Option(text, key));
    }
    $("layer").max = String(layers.length); $("layer").value = String(state.layer + 1);
    limitHeads();
    $("head").value = "0";
    $("cell").parentElement.hidden = !content.pbc.some(Boolean);
    const images = content.pbc.some(Boolean)
      ? " Weights are sums over periodic images: distances are to the nearest, where the arrow starts; a dashed ring there is an image." : "";
    $("meaning").textContent = (signed
      ? "Weights a of masked attention are signed and not normalised: a negative one subtracts what the other atom says, and heads are not on one scale. Shares are |a| divided by the sum of |a| of the row. Effects are first-order changes of the prediction by a message, vectors included: a negative one lowers it."
      : "Weights of additive attention are a softmax: each row sums to 1. Effects are first-order changes of the prediction by a message: a negative one lowers it.") + images;
  }

  function limitHeads() {
    $("head").max = String(layers[state.layer].heads.length);
    state.head = Math.min(state.head, layers[state.layer].heads.length);
  }

  $("atom").addEventListener("change", (event) => choose(Number(event.target.value)));
  $("layer").addEventListener("input", (event) => { state.layer = Number(event.target.value) - 1; limitHeads(); paint(); });
  $("head").addEventListener("input", (event) => { state.head = Number(event.target.value); paint(); });
  $("colour").addEventListener("change", (event) => {
    state.colour = event.target.value;
    if (state.colour === "weight" && !state.head) { state.head = 1; $("head").value = "1"; }
    paint();
  });
  for (const id of ["arrows", "cell"]) $(id).addEventListener("change", paint);
  Scene.onChoose(choose);

  function contributions() {
    const means = {};
    // Four decimals, or three digits of the largest where all are too small for them.
    const top = content.learned.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const places = top > 0 && top < 0.01 ? Math.min(100, 2 - Math.floor(Math.log10(top))) : 4;
    const fixed = (v) => v.toFixed(places).replace("-", "−");
    for (const z of Object.keys(content.elements)) {
      const mine = [];
      content.z.forEach((each, i) => { if (String(each) === z) mine.push(i); });
      const sum = (list) => mine.reduce((total, i) => total + list[i], 0);
      const learned = sum(content.learned);
      means[z] = learned / mine.length;
      const sorted = mine.map((i) => content.learned[i]).sort((a, b) => a - b);
      const line = $("elements").tBodies[0].insertRow();
      const numbers = [sum(content.terms), learned, means[z], sorted[0], sorted[sorted.length - 1]];
      cells(line, [content.elements[z].symbol, String(mine.length), ...numbers.map(fixed)]);
    }
    const off = content.learned.map((v, i) => v - means[content.z[i]]);
    // Without those that do not differ in any digit shown, as an element's only atom.
    const order = off.map((_, i) => i).filter((i) => Number(off[i].toFixed(places)) !== 0)
      .sort((i, j) => Math.abs(off[j]) - Math.abs(off[i])).slice(0, 12);
    $("far-off").hidden = !order.length;
    for (const i of order) {
      const force = content.forces ? Math.hypot(...content.forces.slice(3 * i, 3 * i + 3)).toFixed(3) : null;
      const numbers = [content.learned[i], off[i]].map(fixed);
      cells($("outliers").tBodies[0].insertRow(), [i, ...numbers, ...(force === null ? [] : [force])]);
    }
    if (!content.forces) document.querySelectorAll(".force").forEach((node) => node.remove());
  }

  // The place for a layer's charts: folded away, but for the first layer.
  function chartsOf(layer) {
    const found = $(`charts-${layer}`);
    if (found) return found;
    const fold = document.createElement("details"), head = document.createElement("summary"), grid = document.createElement("div");
    head.textContent = `Layer ${layer + 1}`;
    grid.id = `charts-${layer}`; grid.className = "charts";
    fold.open = layer === 0;
    fold.append(head, grid);
    $("charts").append(fold);
    return grid;
  }

  function charts() {
    for (const group of content.curves) {
      const title = `${group.group[0].toUpperCase()}${group.group.slice(1)} heads`;
      const parent = chartsOf(group.layer);
      const labels = group.f.map((_, k) => `${group.group} ${k + 1}`);
      const dashed = group.group === "far";
      Chart.draw(parent, { title: `${title}, layer ${group.layer + 1}: f`, x: group.r, curves: group.f, labels, dashed, xLabel: "distance r [Å]", yLabel: "f(r) / max |f|" });
      Chart.draw(parent, { title: `${title}, layer ${group.layer + 1}: spectrum`, x: group.q, curves: group.g, labels, dashed, xLabel: "frequency q [cycles/Å]", yLabel: "4π q² g(q) / max" });
    }
  }

  fillControls();
  contributions();
  charts();
  choose(state.atom);
  document.documentElement.dataset.ready = String(n);
})();
