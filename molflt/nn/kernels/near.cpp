// Sums of near heads over the neighbours of each atom, and their gradients, without
// arrays of edges.
//
// Compiled for REAL (float or double), the number of HEADS, those of them whose sums are
// WRITTEN, and the widths of one head: QUERY (q and k), SCALARS (v), VECTORS (v', 0:
// none) and MATRICES (v'', 0: none).
//
// What atoms send, and gradients of sums, come with the heads as the fastest axis. What
// heads share, one weight for each, then multiplies neighbouring numbers, and sums over
// the channels of a head need no sums across a register. LANES numbers are worked on at
// once: all heads, as many times as fills registers of 16.

#include <numeric>

#include "splines.h"

static_assert(VECTORS > 0 || MATRICES == 0, "matrices are sent beside vectors");

constexpr int ORDER = (VECTORS > 0) + (MATRICES > 0);
constexpr int K = HEADS * (1 + ORDER);
constexpr int HQ = HEADS * QUERY, HS = HEADS * SCALARS, HV = HEADS * VECTORS,
              HM = HEADS * MATRICES;
// A row of projections: q (QUERY, HEADS), k, v (SCALARS, HEADS), v', v''.
constexpr int AT_K = HQ, AT_V = 2 * HQ, AT_V1 = AT_V + HS, AT_V2 = AT_V1 + HV,
              WIDTH = AT_V2 + HM;
constexpr int REPEATS = std::gcd(16 / std::gcd(HEADS, 16),
                                 std::gcd(std::gcd(SCALARS, VECTORS), std::gcd(MATRICES, QUERY)));
constexpr int LANES = HEADS * REPEATS;
constexpr REAL ROOT2 = 1.41421356237309504880, A = ROOT2 / 2,
               B = 0.40824829046386301637;  // 1 / sqrt(6)

// Compilers unroll short loops whole and then make vectors along the loop around them,
// with a shuffle for every number.
#define EACH(variable, count) \
  _Pragma("GCC unroll 1") for (int variable = 0; variable < (count); ++variable)

// Directions as in molflt/nn/angular.py.
struct Angles {
  Number rho, e[3], y[5];
};

static inline void direct(const Edge& edge, Angles& d) {
  if (ORDER == 0) return;
  d.rho = 1 / root(edge.r * edge.r + 1);
  for (int x = 0; x < 3; ++x) d.e[x] = edge.delta[x] * d.rho;
  if (MATRICES) {
    const Number x = d.e[0], y = d.e[1], z = d.e[2];
    d.y[0] = ROOT2 * x * y;
    d.y[1] = ROOT2 * y * z;
    d.y[2] = ROOT2 * x * z;
    d.y[3] = A * (x * x - y * y);
    d.y[4] = B * (2 * z * z - x * x - y * y);
  }
}

// One number for each head, repeated.
static inline void repeat(const Number* per_head, Number* __restrict lanes) {
  for (int r = 0; r < REPEATS; ++r)
    EACH(h, HEADS) lanes[r * HEADS + h] = per_head[h];
}

// The sum over repetitions: one number for each head.
static inline void fold(const Number* lanes, Number* __restrict per_head) {
  EACH(h, HEADS) per_head[h] = lanes[h];
  for (int r = 1; r < REPEATS; ++r) EACH(h, HEADS) per_head[h] += lanes[r * HEADS + h];
}

// sum_c += w * v_c, for each head
template <int COUNT>
static inline void add(const Number* w, const Number* v, Number* __restrict sum) {
  for (int c = 0; c < COUNT * HEADS; c += LANES)
    EACH(l, LANES) sum[c + l] += w[l] * v[c + l];
}

// lanes += sum_c a_c b_c
template <int COUNT>
static inline void multiply(const Number* a, const Number* b, Number* __restrict lanes) {
  for (int c = 0; c < COUNT * HEADS; c += LANES)
    EACH(l, LANES) lanes[l] += a[c + l] * b[c + l];
}

static inline void weigh(const Number* q, const Number* k, Number* __restrict w) {
  Number lanes[LANES] = {};
  multiply<QUERY>(q, k, lanes);
  fold(lanes, w);
}

// Ask for an atom's numbers while those of the one before are at work.
template <int COUNT>
static inline void fetch(const Number* data, int64_t atom) {
  const char* at = reinterpret_cast<const char*>(data + atom * COUNT);
  for (int line = 0; line < int(COUNT * sizeof(Number)); line += 64)
    __builtin_prefetch(at + line);
}

// Write `PARTS` sums of each channel; heads become slower than channels.
template <int PARTS, int COUNT>
static inline void write(const Number* sum, int64_t row, Number* out) {
  out += row * PARTS * WRITTEN * COUNT;
  for (int p = 0; p < PARTS; ++p)
    for (int h = 0; h < WRITTEN; ++h)
      for (int c = 0; c < COUNT; ++c) *out++ = sum[(p * COUNT + c) * HEADS + h];
}

EXPORT void near_sums(int64_t begin, int64_t end, const int64_t* start,
                      const int32_t* sender, const int32_t* half, const Number* delta,
                      const Number* data, int64_t intervals, REAL cutoff,
                      const Number* atoms, const Number* vectors, Number* scalars_out,
                      Number* vectors_out, Number* matrices_out) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Angles angles;
  Number kernel[K], w[HEADS], lanes[(1 + ORDER) * LANES];
  for (int64_t a = begin; a < end; ++a) {
    Number s[HS] = {}, v[VECTORS ? 3 * HV : 1] = {}, m[MATRICES ? 5 * HM : 1] = {};
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (i + 1 < start[a + 1]) {
        const int64_t next = sender[i + 1];
        fetch<WIDTH>(atoms, next);
        fetch<3 * HV>(vectors, next);
      }
      if (!locate(delta, half[i], table, e)) continue;
      direct(e, angles);
      evaluate<K>(table, e, e.value, kernel);
      const Number* b = atoms + int64_t(sender[i]) * WIDTH;
      weigh(atoms + a * WIDTH, b + AT_K, w);
      for (int l = 0; l <= ORDER; ++l) {
        EACH(h, HEADS) kernel[l * HEADS + h] *= w[h];
        repeat(kernel + l * HEADS, lanes + l * LANES);
      }
      add<SCALARS>(lanes, b + AT_V, s);
      if constexpr (VECTORS > 0) {
        const Number* u = vectors + int64_t(sender[i]) * 3 * HV;
        for (int x = 0; x < 3; ++x) {
          Number odd[LANES];
          EACH(l, LANES) odd[l] = angles.e[x] * lanes[LANES + l];
          for (int c = 0; c < HV; c += LANES)
            EACH(l, LANES)
              v[x * HV + c + l] += odd[l] * b[AT_V1 + c + l] + lanes[l] * u[x * HV + c + l];
        }
      }
      if constexpr (MATRICES > 0)
        for (int c = 0; c < 5; ++c) {
          Number turned[LANES];
          EACH(l, LANES) turned[l] = angles.y[c] * lanes[2 * LANES + l];
          add<MATRICES>(turned, b + AT_V2, m + c * HM);
        }
    }
    const int64_t row = a - begin;
    write<1, SCALARS>(s, row, scalars_out);
    if constexpr (VECTORS > 0) write<3, VECTORS>(v, row, vectors_out);
    if constexpr (MATRICES > 0) write<5, MATRICES>(m, row, matrices_out);
  }
}

// What the gradient sees of one message, without weights and kernels: by order and head,
// and, before the sum over components of the direction, by component.
struct Seen {
  Number order[K], odd[3][HEADS], matrix[5][HEADS];
};

// From numbers b and vectors u of the sender, gradients of the receiver's sums.
static inline void see(const Number* b, const Number* u, const Number* gs, const Number* gv,
                       const Number* gm, const Angles& angles, Number sign, Seen& seen) {
  Number even[LANES] = {};
  multiply<SCALARS>(gs, b + AT_V, even);
  if constexpr (VECTORS > 0) {
    EACH(h, HEADS) seen.order[HEADS + h] = 0;
    for (int x = 0; x < 3; ++x) {
      Number odd[LANES] = {};
      multiply<VECTORS>(gv + x * HV, u + x * HV, even);
      multiply<VECTORS>(gv + x * HV, b + AT_V1, odd);
      fold(odd, seen.odd[x]);
      const Number along = sign * angles.e[x];
      EACH(h, HEADS) seen.order[HEADS + h] += along * seen.odd[x][h];
    }
  }
  fold(even, seen.order);
  if constexpr (MATRICES > 0) {
    EACH(h, HEADS) seen.order[2 * HEADS + h] = 0;
    for (int c = 0; c < 5; ++c) {
      Number lanes[LANES] = {};
      multiply<MATRICES>(gm + c * HM, b + AT_V2, lanes);
      fold(lanes, seen.matrix[c]);
      EACH(h, HEADS) seen.order[2 * HEADS + h] += angles.y[c] * seen.matrix[c][h];
    }
  }
}

// Gradient of one pair's displacement. `to` and `from` are w K_hl of both messages.
static inline void displace(const Edge& e, const Angles& angles, const Seen& received,
                            const Seen& sent, const Number* to, const Number* from,
                            Number along, Number* out) {
  const Number per_r = value_of(e.r) > 0 ? along / e.r : Number(0);
  for (int x = 0; x < 3; ++x) out[x] = per_r * e.delta[x];
  if constexpr (VECTORS > 0) {
    Number turn[3] = {}, inner = 0;  // gradient by the direction
    for (int x = 0; x < 3; ++x)
      EACH(h, HEADS)
        turn[x] += to[HEADS + h] * received.odd[x][h] - from[HEADS + h] * sent.odd[x][h];
    if constexpr (MATRICES > 0) {
      Number g[5] = {};
      for (int c = 0; c < 5; ++c)
        EACH(h, HEADS)
          g[c] += to[2 * HEADS + h] * received.matrix[c][h] +
                  from[2 * HEADS + h] * sent.matrix[c][h];
      const Number x = angles.e[0], y = angles.e[1], z = angles.e[2];
      turn[0] += ROOT2 * (y * g[0] + z * g[2]) + 2 * x * (A * g[3] - B * g[4]);
      turn[1] += ROOT2 * (x * g[0] + z * g[1]) - 2 * y * (A * g[3] + B * g[4]);
      turn[2] += ROOT2 * (y * g[1] + x * g[2]) + 4 * B * z * g[4];
    }
    for (int x = 0; x < 3; ++x) inner += turn[x] * angles.e[x];
    for (int x = 0; x < 3; ++x) out[x] += angles.rho * (turn[x] - inner * angles.e[x]);
  }
}

// Gradients of what rows send; of displacements and of the table where asked for.
EXPORT void near_gradients(int64_t begin, int64_t end, const int64_t* start,
                           const int32_t* sender, const int32_t* half, const Number* delta,
                           const Number* data, int64_t intervals, REAL cutoff,
                           const Number* atoms, const Number* vectors, const Number* gs,
                           const Number* gv, const Number* gm, Number* grad_atoms,
                           Number* grad_vectors, Number* grad_delta, Number* grad_table) {
  const Table table{data, intervals, cutoff};
  Edge e;
  Angles angles;
  Seen received, sent;  // what a receives from b, what it sends to b
  Number kernel[K], slope[K], w_to[HEADS], w_from[HEADS], to[K], from[K], both[K];
  Number d_to[HEADS], d_from[HEADS], lanes[(1 + ORDER) * LANES];
  for (int64_t a = begin; a < end; ++a) {
    const Number *pa = atoms + a * WIDTH, *ua = vectors + a * 3 * HV;
    const Number *gsa = gs + a * HS, *gva = gv + a * 3 * HV, *gma = gm + a * 5 * HM;
    Number out[WIDTH] = {}, out_v[VECTORS ? 3 * HV : 1] = {};
    for (int64_t i = start[a]; i < start[a + 1]; ++i) {
      if (i + 1 < start[a + 1]) {
        const int64_t next = sender[i + 1];
        fetch<WIDTH>(atoms, next);
        fetch<3 * HV>(vectors, next);
        fetch<HS>(gs, next);
        fetch<3 * HV>(gv, next);
      }
      if (!locate(delta, half[i], table, e)) continue;
      direct(e, angles);
      evaluate<K>(table, e, e.value, kernel);
      const int64_t n = sender[i];
      const Number *pb = atoms + n * WIDTH, *ub = vectors + n * 3 * HV;
      const Number *gsb = gs + n * HS, *gvb = gv + n * 3 * HV, *gmb = gm + n * 5 * HM;
      weigh(pa, pb + AT_K, w_to);
      weigh(pb, pa + AT_K, w_from);
      see(pb, ub, gsa, gva, gma, angles, 1, received);
      see(pa, ua, gsb, gvb, gmb, angles, -1, sent);
      EACH(h, HEADS) d_to[h] = d_from[h] = 0;
      for (int l = 0; l <= ORDER; ++l)
        EACH(h, HEADS) {
          const int k = l * HEADS + h;
          to[k] = w_to[h] * kernel[k];
          from[k] = w_from[h] * kernel[k];
          d_to[h] += kernel[k] * received.order[k];
          d_from[h] += kernel[k] * sent.order[k];
          both[k] = w_to[h] * received.order[k];
        }
      repeat(d_to, lanes);
      add<QUERY>(lanes, pb + AT_K, out);
      repeat(d_from, lanes);
      add<QUERY>(lanes, pb, out + AT_K);
      if (grad_table) scatter<K>(e, both, grad_table);
      if (grad_delta && !(half[i] & 1)) {
        evaluate<K>(table, e, e.slope, slope);
        Number along = 0;
        for (int l = 0; l <= ORDER; ++l)
          EACH(h, HEADS) {
            const int k = l * HEADS + h;
            along += slope[k] * (both[k] + w_from[h] * sent.order[k]);
          }
        displace(e, angles, received, sent, to, from, along,
                 grad_delta + 3 * int64_t(half[i] >> 1));
      }
      for (int l = 0; l <= ORDER; ++l) repeat(from + l * HEADS, lanes + l * LANES);
      add<SCALARS>(lanes, gsb, out + AT_V);
      if constexpr (VECTORS > 0) {
        Number odd[3][LANES];
        for (int x = 0; x < 3; ++x) {
          add<VECTORS>(lanes, gvb + x * HV, out_v + x * HV);
          EACH(l, LANES) odd[x][l] = -angles.e[x] * lanes[LANES + l];
        }
        for (int c = 0; c < HV; c += LANES)
          EACH(l, LANES)
            out[AT_V1 + c + l] += odd[0][l] * gvb[c + l] + odd[1][l] * gvb[HV + c + l] +
                                  odd[2][l] * gvb[2 * HV + c + l];
      }
      if constexpr (MATRICES > 0)
        for (int c = 0; c < 5; ++c) {
          Number turned[LANES];
          EACH(l, LANES) turned[l] = angles.y[c] * lanes[2 * LANES + l];
          add<MATRICES>(turned, gmb + c * HM, out + AT_V2);
        }
    }
    const int64_t row = a - begin;
    for (int c = 0; c < WIDTH; ++c) grad_atoms[row * WIDTH + c] = out[c];
    for (int c = 0; c < 3 * HV; ++c) grad_vectors[row * 3 * HV + c] = out_v[c];
  }
}
