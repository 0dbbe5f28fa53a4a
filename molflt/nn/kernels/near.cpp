// Sums of near heads over the neighbours of each atom, and their gradients, without
// arrays of edges.
//
// Compiled for REAL (float or double), the number of HEADS and the widths of one head:
// QUERY (q and k), SCALARS (v), VECTORS (v', 0: none) and MATRICES (v'', 0: none).

#include "splines.h"

constexpr int ORDER = (VECTORS > 0) + (MATRICES > 0);
constexpr int K = HEADS * (1 + ORDER);
constexpr int HQ = HEADS * QUERY, HS = HEADS * SCALARS, HV = HEADS * VECTORS,
              HM = HEADS * MATRICES;
// A row of projections: q (QUERY, HEADS), k (QUERY, HEADS), v (HEADS, SCALARS), v', v''.
constexpr int AT_K = HQ, AT_V = 2 * HQ, AT_V1 = AT_V + HS, AT_V2 = AT_V1 + HV,
              WIDTH = AT_V2 + HM;
constexpr REAL ROOT2 = 1.41421356237309504880, A = ROOT2 / 2,
               B = 0.40824829046386301637;  // 1 / sqrt(6)

// Directions as in molflt/nn/angular.py.
struct Angles {
  REAL rho, e[3], y[5];
};

static inline void direct(const Edge& edge, Angles& d) {
  d.rho = 1 / std::sqrt(edge.r * edge.r + 1);
  for (int x = 0; x < 3; ++x) d.e[x] = edge.delta[x] * d.rho;
  if (MATRICES) {
    const REAL x = d.e[0], y = d.e[1], z = d.e[2];
    d.y[0] = ROOT2 * x * y;
    d.y[1] = ROOT2 * y * z;
    d.y[2] = ROOT2 * x * z;
    d.y[3] = A * (x * x - y * y);
    d.y[4] = B * (2 * z * z - x * x - y * y);
  }
}

static inline void weigh(const REAL* q, const REAL* k, REAL* __restrict w) {
  for (int h = 0; h < HEADS; ++h) w[h] = q[h] * k[h];
  for (int c = 1; c < QUERY; ++c)
    for (int h = 0; h < HEADS; ++h) w[h] += q[c * HEADS + h] * k[c * HEADS + h];
}

template <int D>
static inline void add(const REAL* per_head, REAL factor, const REAL* v,
                       REAL* __restrict sum) {
  for (int h = 0; h < HEADS; ++h) {
    const REAL w = per_head[h] * factor;
    for (int d = 0; d < D; ++d) sum[h * D + d] += w * v[h * D + d];
  }
}

// Ask for an atom's numbers while those of the one before are at work.
template <int WIDTH_>
static inline void fetch(const REAL* data, int64_t atom) {
  const char* at = reinterpret_cast<const char*>(data + atom * WIDTH_);
  for (int line = 0; line < int(WIDTH_ * sizeof(REAL)); line += 64)
    __builtin_prefetch(at + line);
}

EXPORT void near_sums(int64_t begin, int64_t end, const int64_t* start,
                      const int32_t* sender, const int32_t* half, const REAL* delta,
                      const REAL* data, int64_t intervals, REAL cutoff,
                      const REAL* atoms, const REAL* vectors, REAL* scalars_out,
                      REAL* vectors_out, REAL* matrices_out) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Angles angles;
  REAL kernel[K], w[HEADS];
  for (int64_t a = begin; a < end; ++a) {
    REAL s[HS] = {}, v[VECTORS ? 3 * HV : 1] = {}, m[MATRICES ? 5 * HM : 1] = {};
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (i + 1 < start[a + 1]) {
        const int64_t next = sender[i + 1];
        fetch<WIDTH>(atoms, next);
        fetch<3 * HV>(vectors, next);
      }
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<K>(table, e, e.value, kernel);
      const REAL* b = atoms + int64_t(sender[i]) * WIDTH;
      weigh(atoms + a * WIDTH, b + AT_K, w);
      for (int l = 0; l <= ORDER; ++l)
        for (int h = 0; h < HEADS; ++h) kernel[l * HEADS + h] *= w[h];
      add<SCALARS>(kernel, 1, b + AT_V, s);
      if constexpr (VECTORS > 0) {
        direct(e, angles);
        const REAL* u = vectors + int64_t(sender[i]) * 3 * HV;
        for (int x = 0; x < 3; ++x) {
          const REAL ex = angles.e[x];
          for (int h = 0; h < HEADS; ++h) {
            const REAL w0 = kernel[h], w1 = kernel[HEADS + h] * ex;
            for (int d = 0; d < VECTORS; ++d) {
              const int at = h * VECTORS + d;
              v[x * HV + at] += w1 * b[AT_V1 + at] + w0 * u[x * HV + at];
            }
          }
        }
      }
      if constexpr (MATRICES > 0)
        for (int c = 0; c < 5; ++c)
          add<MATRICES>(kernel + 2 * HEADS, angles.y[c], b + AT_V2, m + c * HM);
    }
    const int64_t row = a - begin;
    for (int c = 0; c < HS; ++c) scalars_out[row * HS + c] = s[c];
    for (int c = 0; c < 3 * HV; ++c) vectors_out[row * 3 * HV + c] = v[c];
    for (int c = 0; c < 5 * HM; ++c) matrices_out[row * 5 * HM + c] = m[c];
  }
}

// One message, from b to a: <grad_a, message> without weights and kernels, per head and
// order, and its gradient by the direction.
struct Slopes {
  REAL order[K], turn[3], matrix[5];
};

// `sign` is that of the direction, `w` the weights, `kernel` all K_hl.
static inline void project(const REAL* b, const REAL* u, const REAL* gs, const REAL* gv,
                           const REAL* gm, const Angles& angles, REAL sign,
                           const REAL* w, const REAL* kernel, Slopes& p) {
  for (int h = 0; h < HEADS; ++h) {
    REAL total = 0;
    for (int d = 0; d < SCALARS; ++d) total += gs[h * SCALARS + d] * b[AT_V + h * SCALARS + d];
    p.order[h] = total;
  }
  if constexpr (VECTORS > 0) {
    const REAL ex = sign * angles.e[0], ey = sign * angles.e[1], ez = sign * angles.e[2];
    REAL tx[VECTORS] = {}, ty[VECTORS] = {}, tz[VECTORS] = {};
    for (int h = 0; h < HEADS; ++h) {
      const REAL *gx = gv + h * VECTORS, *gy = gx + HV, *gz = gy + HV;
      const REAL *ux = u + h * VECTORS, *uy = ux + HV, *uz = uy + HV;
      const REAL* v = b + AT_V1 + h * VECTORS;
      const REAL c = sign * w[h] * kernel[HEADS + h];
      REAL even = 0, odd = 0;
      for (int d = 0; d < VECTORS; ++d) {
        even += gx[d] * ux[d] + gy[d] * uy[d] + gz[d] * uz[d];
        odd += v[d] * (ex * gx[d] + ey * gy[d] + ez * gz[d]);
        const REAL cv = c * v[d];
        tx[d] += cv * gx[d];
        ty[d] += cv * gy[d];
        tz[d] += cv * gz[d];
      }
      p.order[h] += even;
      p.order[HEADS + h] = odd;
    }
    for (int x = 0; x < 3; ++x) p.turn[x] = 0;
    for (int d = 0; d < VECTORS; ++d) {
      p.turn[0] += tx[d];
      p.turn[1] += ty[d];
      p.turn[2] += tz[d];
    }
  }
  if constexpr (MATRICES > 0) {
    for (int h = 0; h < HEADS; ++h) p.order[2 * HEADS + h] = 0;
    for (int c = 0; c < 5; ++c) {
      p.matrix[c] = 0;
      for (int h = 0; h < HEADS; ++h) {
        REAL total = 0;
        for (int d = 0; d < MATRICES; ++d)
          total += gm[c * HM + h * MATRICES + d] * b[AT_V2 + h * MATRICES + d];
        p.order[2 * HEADS + h] += angles.y[c] * total;
        p.matrix[c] += w[h] * kernel[2 * HEADS + h] * total;
      }
    }
  }
}

EXPORT void near_gradients(int64_t begin, int64_t end, const int64_t* start,
                           const int32_t* sender, const int32_t* half, const REAL* delta,
                           const REAL* data, int64_t intervals, REAL cutoff,
                           const REAL* atoms, const REAL* vectors, const REAL* gs,
                           const REAL* gv, const REAL* gm, REAL* grad_atoms,
                           REAL* grad_vectors, REAL* grad_delta, REAL* grad_table) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Angles angles;
  Slopes to, from;  // what a receives from b, what it sends to b
  REAL kernel[K], slope[K], w_to[HEADS], w_from[HEADS], both[K], d_to[HEADS], d_from[HEADS];
  for (int64_t a = begin; a < end; ++a) {
    const REAL *pa = atoms + a * WIDTH, *ua = vectors + a * 3 * HV;
    const REAL *gsa = gs + a * HS, *gva = gv + a * 3 * HV, *gma = gm + a * 5 * HM;
    REAL out[WIDTH] = {}, out_v[VECTORS ? 3 * HV : 1] = {};
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (i + 1 < start[a + 1]) {
        const int64_t next = sender[i + 1];
        fetch<WIDTH>(atoms, next);
        fetch<3 * HV>(vectors, next);
        fetch<HS>(gs, next);
        fetch<3 * HV>(gv, next);
      }
      if (!locate(delta, half[i], table, e)) continue;
      evaluate<K>(table, e, e.value, kernel);
      evaluate<K>(table, e, e.slope, slope);
      if constexpr (VECTORS > 0) direct(e, angles);
      const int64_t n = sender[i];
      const REAL *pb = atoms + n * WIDTH, *ub = vectors + n * 3 * HV;
      const REAL *gsb = gs + n * HS, *gvb = gv + n * 3 * HV, *gmb = gm + n * 5 * HM;
      weigh(pa, pb + AT_K, w_to);
      weigh(pb, pa + AT_K, w_from);
      project(pb, ub, gsa, gva, gma, angles, 1, w_to, kernel, to);
      project(pa, ua, gsb, gvb, gmb, angles, -1, w_from, kernel, from);
      for (int h = 0; h < HEADS; ++h) d_to[h] = d_from[h] = 0;
      REAL along = 0;
      for (int l = 0; l <= ORDER; ++l)
        for (int h = 0; h < HEADS; ++h) {
          const int k = l * HEADS + h;
          d_to[h] += kernel[k] * to.order[k];
          d_from[h] += kernel[k] * from.order[k];
          both[k] = w_to[h] * to.order[k];
          along += slope[k] * (both[k] + w_from[h] * from.order[k]);
        }
      for (int c = 0; c < QUERY; ++c)
        for (int h = 0; h < HEADS; ++h) {
          const int at = c * HEADS + h;
          out[at] += d_to[h] * pb[AT_K + at];
          out[AT_K + at] += d_from[h] * pb[at];
        }
      if (grad_table) scatter<K>(e, both, grad_table);
      REAL turn[3] = {};  // gradient by the direction e
      if constexpr (VECTORS > 0)
        for (int x = 0; x < 3; ++x) turn[x] = to.turn[x] + from.turn[x];
      if constexpr (MATRICES > 0) {
        REAL g[5];
        for (int c = 0; c < 5; ++c) g[c] = to.matrix[c] + from.matrix[c];
        const REAL x = angles.e[0], y = angles.e[1], z = angles.e[2];
        turn[0] += ROOT2 * (y * g[0] + z * g[2]) + 2 * x * (A * g[3] - B * g[4]);
        turn[1] += ROOT2 * (x * g[0] + z * g[1]) - 2 * y * (A * g[3] + B * g[4]);
        turn[2] += ROOT2 * (y * g[1] + x * g[2]) + 4 * B * z * g[4];
      }
      for (int l = 0; l <= ORDER; ++l)
        for (int h = 0; h < HEADS; ++h) kernel[l * HEADS + h] *= w_from[h];
      add<SCALARS>(kernel, 1, gsb, out + AT_V);
      if constexpr (VECTORS > 0)
        for (int h = 0; h < HEADS; ++h) {
          const REAL w0 = kernel[h], w1 = -kernel[HEADS + h];
          const REAL wx = w1 * angles.e[0], wy = w1 * angles.e[1], wz = w1 * angles.e[2];
          for (int d = 0; d < VECTORS; ++d) {
            const int at = h * VECTORS + d;
            const REAL x = gvb[at], y = gvb[HV + at], z = gvb[2 * HV + at];
            out_v[at] += w0 * x;
            out_v[HV + at] += w0 * y;
            out_v[2 * HV + at] += w0 * z;
            out[AT_V1 + at] += wx * x + wy * y + wz * z;
          }
        }
      if constexpr (MATRICES > 0)
        for (int c = 0; c < 5; ++c)
          add<MATRICES>(kernel + 2 * HEADS, angles.y[c], gmb + c * HM, out + AT_V2);
      if (half[i] & 1) continue;
      const REAL per_r = e.r > 0 ? along / e.r : REAL(0);
      REAL inner = 0;
      if constexpr (VECTORS > 0) {
        for (int x = 0; x < 3; ++x) inner += turn[x] * angles.e[x];
        for (int x = 0; x < 3; ++x) turn[x] = angles.rho * (turn[x] - inner * angles.e[x]);
      }
      for (int x = 0; x < 3; ++x)
        grad_delta[3 * int64_t(half[i] >> 1) + x] = per_r * e.delta[x] + turn[x];
    }
    const int64_t row = a - begin;
    for (int c = 0; c < WIDTH; ++c) grad_atoms[row * WIDTH + c] = out[c];
    for (int c = 0; c < 3 * HV; ++c) grad_vectors[row * 3 * HV + c] = out_v[c];
  }
}
