// Densities of neighbours around each atom, by element, and their gradients, without
// arrays of edges.
//
// Compiled for REAL (float or double), a number of ELEMENTS, an ORDER of harmonics, and
// numbers of radial functions of single neighbours (SINGLE) and of pairs of them
// (TRIPLE). `kind` says which of the elements an atom is, ELEMENTS for others.

#include "harmonics.h"

constexpr int CHANNELS = ELEMENTS * TRIPLE;

// Rows begin to end of P (·, elements, SINGLE) and A (·, parts, elements, TRIPLE).
EXPORT void density_sums(int64_t begin, int64_t end, const int64_t* start,
                         const int32_t* sender, const int32_t* half, const Number* delta,
                         const int32_t* kind, const Number* single, int64_t single_count,
                         REAL single_cutoff, const Number* triple, int64_t triple_count,
                         REAL triple_cutoff, Number* single_out, Number* triple_out) {
  const Table near{single, single_count, single_cutoff};
  const Table dense{triple, triple_count, triple_cutoff};
  Edge e;
  Number g[SINGLE], h[TRIPLE], y[PARTS];
  for (int64_t a = begin; a < end; ++a) {
    Number* p = single_out + (a - begin) * ELEMENTS * SINGLE;
    Number* q = triple_out + (a - begin) * PARTS * CHANNELS;
    for (int c = 0; c < ELEMENTS * SINGLE; ++c) p[c] = 0;
    for (int c = 0; c < PARTS * CHANNELS; ++c) q[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      const int32_t k = kind[sender[i]];
      if (k == ELEMENTS) continue;
      if (!locate(delta, half[i], near, e)) continue;
      evaluate<SINGLE>(near, e, e.value, g);
      for (int n = 0; n < SINGLE; ++n) p[k * SINGLE + n] += g[n];
      if (!locate(delta, half[i], dense, e)) continue;
      evaluate<TRIPLE>(dense, e, e.value, h);
      harmonics(e, y);
      for (int m = 0; m < PARTS; ++m) {
        Number* __restrict sum = q + m * CHANNELS + k * TRIPLE;
        for (int n = 0; n < TRIPLE; ++n) sum[n] += y[m] * h[n];
      }
    }
  }
}

// Gradients of the displacements of pairs; each is written in the row of its first atom.
EXPORT void density_gradients(int64_t begin, int64_t end, const int64_t* start,
                              const int32_t* sender, const int32_t* half,
                              const Number* delta, const int32_t* kind,
                              const Number* single, int64_t single_count,
                              REAL single_cutoff, const Number* triple,
                              int64_t triple_count, REAL triple_cutoff,
                              const Number* single_grad, const Number* triple_grad,
                              Number* grad_delta) {
  const Table near{single, single_count, single_cutoff};
  const Table dense{triple, triple_count, triple_cutoff};
  Edge e;
  Number h[TRIPLE], slope[SINGLE > TRIPLE ? SINGLE : TRIPLE];
  Jet y[PARTS];
  for (int64_t a = begin; a < end; ++a)
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (half[i] & 1) continue;
      const int64_t b = sender[i];
      const bool to = kind[b] != ELEMENTS, from = kind[a] != ELEMENTS;
      if (!locate(delta, half[i], near, e)) continue;
      Number* moved = grad_delta + 3 * int64_t(half[i] >> 1);
      Number along = 0;
      evaluate<SINGLE>(near, e, e.slope, slope);
      const Number* pa = single_grad + (a * ELEMENTS + (to ? kind[b] : 0)) * SINGLE;
      const Number* pb = single_grad + (b * ELEMENTS + (from ? kind[a] : 0)) * SINGLE;
      if (to)
        for (int n = 0; n < SINGLE; ++n) along += slope[n] * pa[n];
      if (from)
        for (int n = 0; n < SINGLE; ++n) along += slope[n] * pb[n];
      if (locate(delta, half[i], dense, e)) {
        evaluate<TRIPLE>(dense, e, e.value, h);
        evaluate<TRIPLE>(dense, e, e.slope, slope);
        harmonics(e, y);
        const Number* qa = triple_grad + a * PARTS * CHANNELS + (to ? kind[b] : 0) * TRIPLE;
        const Number* qb = triple_grad + b * PARTS * CHANNELS + (from ? kind[a] : 0) * TRIPLE;
        for (int l = 0; l <= ORDER; ++l)
          for (int m = l * l; m < (l + 1) * (l + 1); ++m) {
            Number there = 0, here = 0;
            for (int n = 0; n < TRIPLE; ++n) {
              Number both = 0;
              if (to) both += qa[m * CHANNELS + n];
              if (from) both += l % 2 ? -qb[m * CHANNELS + n] : qb[m * CHANNELS + n];
              here += h[n] * both;
              there += slope[n] * both;
            }
            along += y[m].v * there;
            for (int x = 0; x < 3; ++x) moved[x] += here * y[m].d[x];
          }
      }
      const Number per_r = value_of(e.r) > 0 ? along / e.r : Number(0);
      for (int x = 0; x < 3; ++x) moved[x] += per_r * e.delta[x];
    }
}
