// Sums over neighbours of radial functions times harmonics of the direction, per
// channel, and their gradients, without arrays of edges.
//
// Compiled for REAL (float or double), a number of CHANNELS and an ORDER of harmonics.
// Each order has radial functions of its own, CHANNELS of them.

#include "harmonics.h"

constexpr int RADIAL = (ORDER + 1) * CHANNELS;

#define EACH(c) for (int c = 0; c < CHANNELS; ++c)
#define EACH_PART(m, l) for (int m = l * l; m < (l + 1) * (l + 1); ++m)

// out_i = sum_j Y_m(D_ij) K_lc(r_ij) v_jc, parts m of orders l before channels c.
EXPORT void filter_sums(int64_t begin, int64_t end, const int64_t* start,
                        const int32_t* sender, const int32_t* half, const Number* delta,
                        const Number* data, int64_t intervals, REAL cutoff,
                        const Number* values, Number* out) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Number kernel[RADIAL], y[PARTS];
  for (int64_t a = begin; a < end; ++a) {
    Number* __restrict sum = out + (a - begin) * PARTS * CHANNELS;
    for (int c = 0; c < PARTS * CHANNELS; ++c) sum[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<RADIAL>(table, e, e.value, kernel);
      const Number* v = values + int64_t(sender[i]) * CHANNELS;
      EACH(c) sum[c] += kernel[c] * v[c];
      if constexpr (ORDER > 0) harmonics(e, y);
      for (int l = 1; l <= ORDER; ++l) {
        Number* sent = kernel + l * CHANNELS;
        EACH(c) sent[c] *= v[c];
        EACH_PART(m, l) EACH(c) sum[m * CHANNELS + c] += y[m] * sent[c];
      }
    }
  }
}

// Gradient by the direction of one pair, added to that of its displacement.
static inline void turn(const Edge& e, const Number* kernel, const Number* va,
                        const Number* vb, const Number* ga, const Number* gb,
                        Number* out) {
  Jet y[PARTS];
  harmonics(e, y);
  for (int l = 1; l <= ORDER; ++l)
    EACH_PART(m, l) {
      const Number *k = kernel + l * CHANNELS;
      Number received = 0, sent = 0;
      EACH(c) received += k[c] * vb[c] * ga[m * CHANNELS + c];
      EACH(c) sent += k[c] * va[c] * gb[m * CHANNELS + c];
      const Number both = l % 2 ? received - sent : received + sent;
      for (int x = 0; x < 3; ++x) out[x] += both * y[m].d[x];
    }
}

// Gradients of the values of rows, of the displacements and of the table.
EXPORT void filter_gradients(int64_t begin, int64_t end, const int64_t* start,
                             const int32_t* sender, const int32_t* half,
                             const Number* delta, const Number* data, int64_t intervals,
                             REAL cutoff, const Number* values, const Number* grad,
                             Number* grad_values, Number* grad_delta, Number* grad_table) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Number kernel[RADIAL], slope[RADIAL], both[RADIAL], from[CHANNELS], y[PARTS];
  for (int64_t a = begin; a < end; ++a) {
    const Number *va = values + a * CHANNELS, *ga = grad + a * PARTS * CHANNELS;
    Number* __restrict gv = grad_values + (a - begin) * CHANNELS;
    EACH(c) gv[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<RADIAL>(table, e, e.value, kernel);
      evaluate<RADIAL>(table, e, e.slope, slope);
      const int64_t b = sender[i];
      const Number *vb = values + b * CHANNELS, *gb = grad + b * PARTS * CHANNELS;
      Number along = 0;
      harmonics(e, y);
      for (int l = 0; l <= ORDER; ++l) {
        Number* to = both + l * CHANNELS;
        EACH(c) to[c] = from[c] = 0;
        EACH_PART(m, l) {
          const Number back = l % 2 ? -y[m] : y[m];
          EACH(c) to[c] += y[m] * ga[m * CHANNELS + c];
          EACH(c) from[c] += back * gb[m * CHANNELS + c];
        }
        const Number *k = kernel + l * CHANNELS, *s = slope + l * CHANNELS;
        EACH(c) to[c] *= vb[c];
        EACH(c) gv[c] += k[c] * from[c];
        EACH(c) along += s[c] * (to[c] + from[c] * va[c]);
      }
      if (grad_table) scatter<RADIAL>(e, both, grad_table);
      if (half[i] & 1) continue;
      Number* moved = grad_delta + 3 * int64_t(half[i] >> 1);
      const Number per_r = value_of(e.r) > 0 ? along / e.r : Number(0);
      for (int x = 0; x < 3; ++x) moved[x] = per_r * e.delta[x];
      if constexpr (ORDER > 0) turn(e, kernel, va, vb, ga, gb, moved);
    }
  }
}
