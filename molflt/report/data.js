"use strict";
// The content of the page: decoded once, then looked up.
const Report = (() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const pos = new Float32Array(bytes(content.pos).buffer);
  const n = content.z.length;
  const names = content.z.map((z, i) => content.elements[z].symbol + i);

  const a = content.attention;
  const Index = a.wide ? Uint32Array : Uint16Array;
  const index = a.index === null ? null : new Index(bytes(a.index).buffer);
  const level = new Int8Array(bytes(a.level).buffer);
  const scale = new Float32Array(bytes(a.scale).buffer);
  const total = new Float32Array(bytes(a.total).buffer);
  const slot = new Int32Array(n).fill(-1);
  a.atoms.forEach((atom, row) => { slot[atom] = row; });
  const layers = [];
  a.channels.forEach((channel, number) => {
    layers[channel.layer] = layers[channel.layer] || { heads: [], effect: -1 };
    if (channel.kind === "effect") layers[channel.layer].effect = number;
    else layers[channel.layer].heads.push({ name: channel.name, channel: number });
  });

  // One row of one channel as an array of n numbers, with sum of sizes; null: not kept.
  function row(channel, atom) {
    if (slot[atom] < 0) return null;
    const line = channel * a.atoms.length + slot[atom];
    const values = new Float64Array(n);
    for (let k = 0; k < a.kept; k++) {
      const j = index === null ? k : index[line * a.kept + k];
      values[j] = (level[line * a.kept + k] / 127) * scale[line];
    }
    return { values, total: total[line] };
  }

  // Shares |a_ij| / sum_j |a_ij|; of several channels their mean.
  function shares(channels, atom) {
    const out = new Float64Array(n);
    for (const channel of channels) {
      const { values, total: sum } = row(channel, atom);
      if (sum > 0) values.forEach((v, j) => { out[j] += Math.abs(v) / sum / channels.length; });
    }
    return out;
  }

  // From atom j's image that is nearest to atom i to atom i [Å].
  function nearest(i, j) {
    const drawn = [0, 1, 2].map((x) => pos[3 * i + x] - pos[3 * j + x]);
    if (!content.images) return drawn;
    const { cell, inverse } = content.images;  // reduced: the nearest is at most one cell away
    const shifted = (d, steps) => d.map((v, x) => v + steps.reduce((sum, s, k) => sum + s * cell[k][x], 0));
    const home = shifted(drawn, content.pbc.map((flag, k) => (flag ? -Math.round(drawn.reduce((sum, v, x) => sum + v * inverse[x][k], 0)) : 0)));
    const [first, second, third] = content.pbc.map((flag) => (flag ? [-1, 0, 1] : [0]));
    let best = Infinity, found = home;
    for (const p of first) for (const q of second) for (const s of third) {
      if (i === j && !p && !q && !s) continue;  // an atom reads its images
      const moved = shifted(home, [p, q, s]);
      const square = moved[0] ** 2 + moved[1] ** 2 + moved[2] ** 2;
      if (square < best - 1e-6) { best = square; found = moved; }
    }
    // Of equally near images the one that is drawn.
    return i !== j && Math.hypot(...drawn) < Math.sqrt(best) + 1e-3 ? drawn : found;
  }

  const distance = (i, j) => Math.hypot(...nearest(i, j));

  return { content, pos, n, names, layers, slot, row, shares, nearest, distance, signed: a.signed };
})();
