// Numbers with a derivative along one direction: v + t e, e^2 = 0.
//
// Loops compiled for duals give, beside their results, the derivatives of these along
// the direction in which their arguments move: of a gradient, a Hessian's product with
// a vector.

#pragma once

#include <cmath>

struct Dual {
  REAL v, t;
  Dual() = default;
  constexpr Dual(REAL value, REAL tangent = 0) : v(value), t(tangent) {}
};

static inline Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.t + b.t}; }
static inline Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.t - b.t}; }
static inline Dual operator-(Dual a) { return {-a.v, -a.t}; }
static inline Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.v * b.t + a.t * b.v}; }
static inline Dual operator/(Dual a, Dual b) {
  const REAL q = a.v / b.v;
  return {q, (a.t - q * b.t) / b.v};
}
static inline Dual& operator+=(Dual& a, Dual b) { return a = a + b; }
static inline Dual& operator*=(Dual& a, Dual b) { return a = a * b; }

static inline REAL value_of(REAL a) { return a; }
static inline REAL value_of(Dual a) { return a.v; }

static inline REAL root(REAL a) { return std::sqrt(a); }
static inline Dual root(Dual a) {
  const REAL r = std::sqrt(a.v);
  return {r, r > 0 ? a.t / (2 * r) : REAL(0)};
}

#if DUAL
using Number = Dual;
#else
using Number = REAL;
#endif
