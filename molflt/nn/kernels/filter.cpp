// Sums over neighbours of radial functions times harmonics of the direction, per
// channel, and their gradients, without arrays of edges.
//
// Compiled for REAL (float or double), a number of CHANNELS and an ORDER of harmonics.

#include "harmonics.h"

// out_i = sum_j Y_m(D_ij) K_c(r_ij) v_jc, parts m before channels c.
EXPORT void filter_sums(int64_t begin, int64_t end, const int64_t* start,
                        const int32_t* sender, const int32_t* half, const Number* delta,
                        const Number* data, int64_t intervals, REAL cutoff,
                        const Number* values, Number* out) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Number kernel[CHANNELS], y[PARTS];
  for (int64_t a = begin; a < end; ++a) {
    Number* __restrict sum = out + (a - begin) * PARTS * CHANNELS;
    for (int c = 0; c < PARTS * CHANNELS; ++c) sum[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<CHANNELS>(table, e, e.value, kernel);
      const Number* v = values + int64_t(sender[i]) * CHANNELS;
      if constexpr (ORDER == 0) {
        for (int c = 0; c < CHANNELS; ++c) sum[c] += kernel[c] * v[c];
        continue;
      }
      for (int c = 0; c < CHANNELS; ++c) kernel[c] *= v[c];
      harmonics(e, y);
      for (int m = 0; m < PARTS; ++m)
        for (int c = 0; c < CHANNELS; ++c) sum[m * CHANNELS + c] += y[m] * kernel[c];
    }
  }
}

// Gradient by the direction of one pair: to its displacement. `to` and `from` are K v of
// the message that is received and of the one that is sent back.
static inline void turn(const Edge& e, const Number* ga, const Number* gb,
                        const Number* to, const Number* from, Number* out) {
  Jet y[PARTS];
  harmonics(e, y);
  for (int m = 1; m < PARTS; ++m) {
    Number received = 0, sent = 0;
    for (int c = 0; c < CHANNELS; ++c) {
      received += to[c] * ga[m * CHANNELS + c];
      sent += from[c] * gb[m * CHANNELS + c];
    }
    const Number both = is_odd(m) ? received - sent : received + sent;
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
  Number kernel[CHANNELS], slope[CHANNELS], to[CHANNELS], from[CHANNELS], y[PARTS];
  for (int64_t a = begin; a < end; ++a) {
    const Number *va = values + a * CHANNELS, *ga = grad + a * PARTS * CHANNELS;
    Number* __restrict gv = grad_values + (a - begin) * CHANNELS;
    for (int c = 0; c < CHANNELS; ++c) gv[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<CHANNELS>(table, e, e.value, kernel);
      evaluate<CHANNELS>(table, e, e.slope, slope);
      const int64_t b = sender[i];
      const Number *vb = values + b * CHANNELS, *gb = grad + b * PARTS * CHANNELS;
      harmonics(e, y);
      for (int c = 0; c < CHANNELS; ++c) to[c] = ga[c], from[c] = gb[c];
      for (int m = 1; m < PARTS; ++m) {
        const Number back = is_odd(m) ? -y[m] : y[m];
        for (int c = 0; c < CHANNELS; ++c) {
          to[c] += y[m] * ga[m * CHANNELS + c];
          from[c] += back * gb[m * CHANNELS + c];
        }
      }
      Number along = 0;
      for (int c = 0; c < CHANNELS; ++c) {
        gv[c] += kernel[c] * from[c];
        to[c] *= vb[c];
        along += slope[c] * (to[c] + from[c] * va[c]);
      }
      if (grad_table) scatter<CHANNELS>(e, to, grad_table);
      if (half[i] & 1) continue;
      Number* moved = grad_delta + 3 * int64_t(half[i] >> 1);
      const Number per_r = value_of(e.r) > 0 ? along / e.r : Number(0);
      for (int x = 0; x < 3; ++x) moved[x] = per_r * e.delta[x];
      if constexpr (ORDER > 0) {
        for (int c = 0; c < CHANNELS; ++c)
          to[c] = kernel[c] * vb[c], from[c] = kernel[c] * va[c];
        turn(e, ga, gb, to, from, moved);
      }
    }
  }
}
