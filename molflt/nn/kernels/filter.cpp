// The embedding's sum over neighbours, and its gradients, without arrays of edges.
//
// Compiled for REAL (float or double) and a number of CHANNELS.

#include "splines.h"

// out_i = sum_j K(r_ij) * v_j per channel.
EXPORT void filter_sums(int64_t begin, int64_t end, const int64_t* start,
                        const int32_t* sender, const int32_t* half, const Number* delta,
                        const Number* data, int64_t intervals, REAL cutoff,
                        const Number* values, Number* out) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Number kernel[CHANNELS];
  for (int64_t a = begin; a < end; ++a) {
    Number* __restrict sum = out + (a - begin) * CHANNELS;
    for (int c = 0; c < CHANNELS; ++c) sum[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<CHANNELS>(table, e, e.value, kernel);
      const Number* v = values + int64_t(sender[i]) * CHANNELS;
      for (int c = 0; c < CHANNELS; ++c) sum[c] += kernel[c] * v[c];
    }
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
  Number kernel[CHANNELS], slope[CHANNELS], both[CHANNELS];
  for (int64_t a = begin; a < end; ++a) {
    const Number *va = values + a * CHANNELS, *ga = grad + a * CHANNELS;
    Number* __restrict gv = grad_values + (a - begin) * CHANNELS;
    for (int c = 0; c < CHANNELS; ++c) gv[c] = 0;
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<CHANNELS>(table, e, e.value, kernel);
      evaluate<CHANNELS>(table, e, e.slope, slope);
      const int64_t b = sender[i];
      const Number *vb = values + b * CHANNELS, *gb = grad + b * CHANNELS;
      Number along = 0;
      for (int c = 0; c < CHANNELS; ++c) {
        gv[c] += kernel[c] * gb[c];
        along += slope[c] * (ga[c] * vb[c] + gb[c] * va[c]);
        both[c] = ga[c] * vb[c];
      }
      if (grad_table) scatter<CHANNELS>(e, both, grad_table);
      if (half[i] & 1) continue;
      const Number per_r = value_of(e.r) > 0 ? along / e.r : Number(0);
      for (int x = 0; x < 3; ++x)
        grad_delta[3 * int64_t(half[i] >> 1) + x] = per_r * e.delta[x];
    }
  }
}
