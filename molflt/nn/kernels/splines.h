// Edges of atoms and radial functions of their lengths. REAL is float or double.
//
// A row of edges is all that one atom receives. Every atom is also the sender along its
// row, since each pair is listed in both directions: gradients of what an atom sends are
// therefore summed along its own row too, and no two rows write to the same place.
//
// Radial functions are quintic Hermite splines: `data` holds at each of intervals + 1
// knots the values, slopes and curvatures of all functions, in units of the spacing
// (molflt/nn/edges/table.py has the same in torch).

#pragma once

#include <cmath>
#include <cstdint>

#include "dual.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

struct Edge {
  Number delta[3], r;
  int64_t knot;
  Number value[6];  // of the Hermite basis
  Number slope[6];  // their derivatives by r
};

struct Table {
  const Number* data;
  int64_t intervals;
  REAL cutoff;
};

// False beyond the cutoff, where every function is zero.
static inline bool locate(const Number* delta, int32_t half, const Table& table, Edge& e) {
  const REAL sign = (half & 1) ? REAL(-1) : REAL(1);
  const Number* d = delta + 3 * int64_t(half >> 1);
  for (int x = 0; x < 3; ++x) e.delta[x] = sign * d[x];
  e.r = root(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
  if (!(value_of(e.r) < table.cutoff)) return false;
  const REAL per = table.intervals / table.cutoff;
  const Number t = e.r * per;
  e.knot = static_cast<int64_t>(value_of(t));
  if (e.knot >= table.intervals) e.knot = table.intervals - 1;
  const Number u = t - REAL(e.knot), u2 = u * u, u3 = u2 * u;
  e.value[5] = u3 * (10 - 15 * u + 6 * u2);
  e.value[0] = 1 - e.value[5];
  e.value[1] = u + u3 * (-6 + 8 * u - 3 * u2);
  e.value[4] = u3 * (-4 + 7 * u - 3 * u2);
  e.value[2] = u2 / 2 * (1 - 3 * u + 3 * u2 - u3);
  e.value[3] = u3 / 2 * (1 - 2 * u + u2);
  e.slope[5] = per * 30 * u2 * (1 - 2 * u + u2);
  e.slope[0] = -e.slope[5];
  e.slope[1] = per * (1 + u2 * (-18 + 32 * u - 15 * u2));
  e.slope[4] = per * u2 * (-12 + 28 * u - 15 * u2);
  e.slope[2] = per * (u + u2 * (REAL(-4.5) + 6 * u - REAL(2.5) * u2));
  e.slope[3] = per * u2 * (REAL(1.5) - 4 * u + REAL(2.5) * u2);
  return true;
}

template <int K>
static inline void evaluate(const Table& table, const Edge& e, const Number* basis,
                            Number* __restrict out) {
  const Number* t = table.data + e.knot * 3 * K;
  for (int k = 0; k < K; ++k)
    out[k] = basis[0] * t[k] + basis[1] * t[K + k] + basis[2] * t[2 * K + k] +
             basis[5] * t[3 * K + k] + basis[4] * t[4 * K + k] + basis[3] * t[5 * K + k];
}

template <int K>
static inline void scatter(const Edge& e, const Number* values, Number* __restrict table) {
  Number* t = table + e.knot * 3 * K;
  static const int place[6] = {0, 1, 2, 5, 4, 3};
  for (int b = 0; b < 6; ++b)
    for (int k = 0; k < K; ++k) t[b * K + k] += e.value[place[b]] * values[k];
}
