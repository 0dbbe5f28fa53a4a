// Harmonics of the direction of an edge, e = D / sqrt(r^2 + 1 A^2), orders 0 to ORDER.
//
// The same functions in the same order as molflt/nn/angular.py has them. They are
// polynomials of e, written once for plain numbers and once for numbers with their
// derivatives by D.

#pragma once

#include "splines.h"

#ifndef ORDER
#define ORDER 0
#endif

// Parts of an order are order^2 to (order + 1)^2 - 1; those of odd orders change their
// sign with the direction.
constexpr int PARTS = (ORDER + 1) * (ORDER + 1);

// A number and its derivatives by the three components of D.
struct Jet {
  Number v, d[3];
};

static inline Jet operator+(const Jet& a, const Jet& b) {
  return {a.v + b.v, {a.d[0] + b.d[0], a.d[1] + b.d[1], a.d[2] + b.d[2]}};
}
static inline Jet operator-(const Jet& a, const Jet& b) {
  return {a.v - b.v, {a.d[0] - b.d[0], a.d[1] - b.d[1], a.d[2] - b.d[2]}};
}
static inline Jet operator*(const Jet& a, const Jet& b) {
  Jet out{a.v * b.v, {}};
  for (int x = 0; x < 3; ++x) out.d[x] = a.v * b.d[x] + a.d[x] * b.v;
  return out;
}
static inline Jet operator*(REAL a, const Jet& b) {
  return {a * b.v, {a * b.d[0], a * b.d[1], a * b.d[2]}};
}

template <class T>
static inline void polynomials(const T& one, const T& x, const T& y, const T& z, T* out) {
  out[0] = one;
  if constexpr (ORDER >= 1) {
    out[1] = x, out[2] = y, out[3] = z;
  }
  if constexpr (ORDER >= 2) {
    const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, plane = xx + yy;
    const T across = xx - yy;
    const REAL two = std::sqrt(REAL(2));
    out[4] = two * xy;
    out[5] = two * (y * z);
    out[6] = two * (x * z);
    out[7] = REAL(1) / two * across;
    out[8] = 1 / std::sqrt(REAL(6)) * (REAL(2) * zz - plane);
    if constexpr (ORDER >= 3) {
      const T lobes = REAL(4) * zz - plane;
      const T three_x = xx - REAL(3) * yy, three_y = REAL(3) * xx - yy;
      out[9] = REAL(0.5) * (y * three_y);
      out[10] = std::sqrt(REAL(6)) * (xy * z);
      out[11] = std::sqrt(REAL(0.15)) * (y * lobes);
      out[12] = std::sqrt(REAL(0.1)) * (z * (REAL(2) * zz - REAL(3) * plane));
      out[13] = std::sqrt(REAL(0.15)) * (x * lobes);
      out[14] = std::sqrt(REAL(1.5)) * (z * across);
      out[15] = REAL(0.5) * (x * three_x);
    }
  }
}

// At the displacement of an edge.
static inline void harmonics(const Edge& e, Number* out) {
  const Number s = 1 / root(e.r * e.r + 1);
  polynomials<Number>(1, s * e.delta[0], s * e.delta[1], s * e.delta[2], out);
}

// With derivatives by the displacement.
static inline void harmonics(const Edge& e, Jet* out) {
  const Number s = 1 / root(e.r * e.r + 1);
  Jet unit[3];
  for (int x = 0; x < 3; ++x) {
    unit[x].v = s * e.delta[x];
    for (int y = 0; y < 3; ++y)
      unit[x].d[y] = s * ((x == y ? 1 : 0) - s * e.delta[x] * (s * e.delta[y]));
  }
  polynomials<Jet>(Jet{1, {0, 0, 0}}, unit[0], unit[1], unit[2], out);
}
