"""C++ that kernels build on: scalar functions written so that compilers vectorise loops over them, and the register-tiled product.

exp and log follow the Cephes scheme (Cody-Waite reduction, minimax polynomial); erf is the rational approximation over [-4, 4] that
Eigen and XLA use in single precision; all are within a few units in the last place.
"""

from __future__ import annotations

HEADER = """\
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <omp.h>
#include <utility>
"""

FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "ke_max": (
        (),
        "template <class T> static inline T ke_max(T a, T b) { return (a > b || a != a) ? a : b; }\n",
    ),
    "ke_min": (
        (),
        "template <class T> static inline T ke_min(T a, T b) { return (a < b || a != a) ? a : b; }\n",
    ),
    "ke_exp": (
        (),
        """\
static inline float ke_exp(float x) {
  const float n = __builtin_rintf(x * 1.44269504088896341f);
  float f = x - n * 0.693145751953125f;
  f = f - n * 1.428606765330187e-06f;
  float p = 1.9875691500e-4f;
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  p = p * f * f + f + 1.0f;
  const float m = n < -126.0f ? -126.0f : (n > 127.0f ? 127.0f : n);
  const int32_t bits = ((int32_t)m + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, 4);
  float r = p * scale;
  r = x < -87.33654f ? 0.0f : r;
  return x > 88.72283f ? std::numeric_limits<float>::infinity() : r;
}
""",
    ),
    "ke_log": (
        (),
        """\
static inline float ke_log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float scaled = tiny ? x * 8388608.0f : x;
  int32_t bits;
  std::memcpy(&bits, &scaled, 4);
  const int32_t k = (bits - 0x3f3504f3) >> 23;
  const int32_t mbits = bits - (int32_t)((uint32_t)k << 23);
  const float e = (float)(tiny ? k - 23 : k);
  float m;
  std::memcpy(&m, &mbits, 4);
  const float f = m - 1.0f, z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float r = f * z * p;
  r = r + e * -2.12194440e-4f;
  r = r - 0.5f * z;
  r = f + r;
  r = r + e * 0.693359375f;
  r = x == 0.0f ? -std::numeric_limits<float>::infinity() : r;
  r = x < 0.0f ? std::numeric_limits<float>::quiet_NaN() : r;
  r = x > 3.4028234e38f ? x : r;
  return x != x ? x : r;
}
""",
    ),
    "ke_log1p": (
        ("ke_log",),
        """\
static inline float ke_log1p(float x) {
  const float series = x * (1.0f + x * (-0.5f + x * (0.333333333f - 0.25f * x)));
  const float direct = ke_log(1.0f + x);
  return std::fabs(x) < 0.01f ? series : direct;
}
""",
    ),
    "ke_sigmoid": (
        ("ke_exp",),
        "static inline float ke_sigmoid(float x) { return 1.0f / (1.0f + ke_exp(-x)); }\n",
    ),
    "ke_tanh": (
        (),
        """\
static inline float ke_tanh(float x) {
  const float c = x < -7.90531110763549805f ? -7.90531110763549805f : (x > 7.90531110763549805f ? 7.90531110763549805f : x);
  const float z = c * c;
  float p = -2.76076847742355e-16f;
  p = p * z + 2.00018790482477e-13f;
  p = p * z - 8.60467152213735e-11f;
  p = p * z + 5.12229709037114e-08f;
  p = p * z + 1.48572235717979e-05f;
  p = p * z + 6.37261928875436e-04f;
  p = p * z + 4.89352455891786e-03f;
  p = p * c;
  float q = 1.19825839466702e-06f;
  q = q * z + 1.18534705686654e-04f;
  q = q * z + 2.26843463243900e-03f;
  q = q * z + 4.89352518554385e-03f;
  const float r = p / q;
  return x != x ? x : r;
}
""",
    ),
    "ke_erf": (
        (),
        """\
static inline float ke_erf(float x) {
  const float c = x < -3.832506856900711f ? -3.832506856900711f : (x > 3.832506856900711f ? 3.832506856900711f : x);
  const float z = c * c;
  float p = 0.00022905065861350646f;
  p = p * z + 0.0034082910107109506f;
  p = p * z + 0.050955695062380861f;
  p = p * z + 0.18520832239976145f;
  p = p * z + 1.128379143519084f;
  float q = -1.1791602954361697e-7f;
  q = q * z + 0.000023547966471313185f;
  q = q * z + 0.0010179625278914885f;
  q = q * z + 0.014070470171167667f;
  q = q * z + 0.11098505178285362f;
  q = q * z + 0.49746925110067538f;
  q = q * z + 1.0f;
  const float r = c * p / q;
  return x != x ? x : r;
}
""",
    ),
    "ke_floordiv": (
        (),
        """\
template <class T> static inline T ke_floordiv(T a, T b) { const T q = a / b; return q - ((a % b != 0) && ((a < 0) != (b < 0))); }
template <class T> static inline T ke_mod(T a, T b) { const T r = a % b; return r + ((r != 0 && ((r < 0) != (b < 0))) ? b : T(0)); }
static inline float ke_mod(float a, float b) { const float r = std::fmod(a, b); return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r; }
static inline double ke_mod(double a, double b) { const double r = std::fmod(a, b); return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r; }
""",
    ),
    "ke_sign": (
        (),
        "template <class T> static inline T ke_sign(T a) { return a != a ? a : T((a > T(0)) - (a < T(0))); }\n",
    ),
    "ke_count": (
        (),
        """\
template <class T> static inline int64_t ke_count_lt(const T* b, int64_t n, T v) {
  int32_t c = 0;
  for (int64_t j = 0; j < n; ++j) c += b[j] < v;
  return c;
}
template <class T> static inline int64_t ke_count_le(const T* b, int64_t n, T v) {
  int32_t c = 0;
  for (int64_t j = 0; j < n; ++j) c += b[j] <= v;
  return c;
}
""",
    ),
    "ke_lower": (
        (),
        """\
template <class T> static inline int64_t ke_lower(const T* b, int64_t n, T v) {
  const T* p = b;
  while (n > 1) {
    const int64_t half = n / 2;
    p = p[half - 1] < v ? p + half : p;
    n -= half;
  }
  return (p - b) + (n == 1 && *p < v);
}
template <class T> static inline int64_t ke_upper(const T* b, int64_t n, T v) {
  const T* p = b;
  while (n > 1) {
    const int64_t half = n / 2;
    p = p[half - 1] <= v ? p + half : p;
    n -= half;
  }
  return (p - b) + (n == 1 && *p <= v);
}
""",
    ),
    "ke_batch": (
        (),
        """\
template <bool RIGHT, class T>
static inline void ke_batch(const T* b, int64_t n, const T* wanted, int64_t* place, int64_t count) {
  for (int64_t l = 0; l < count; ++l) place[l] = 0;
  while (n > 1) {
    const int64_t half = n / 2;
    #pragma omp simd
    for (int64_t l = 0; l < count; ++l) {
      const T probe = b[place[l] + half - 1];
      place[l] += (RIGHT ? probe <= wanted[l] : probe < wanted[l]) ? half : 0;
    }
    n -= half;
  }
  if (n == 1) {
    #pragma omp simd
    for (int64_t l = 0; l < count; ++l) {
      const T probe = b[place[l]];
      place[l] += RIGHT ? probe <= wanted[l] : probe < wanted[l];
    }
  }
}
""",
    ),
    "ke_bf16": (
        (),
        """\
static inline float ke_from_bf16(uint16_t h) { const uint32_t b = (uint32_t)h << 16; float f; std::memcpy(&f, &b, 4); return f; }
static inline uint16_t ke_to_bf16(float f) {
  uint32_t b;
  std::memcpy(&b, &f, 4);
  const uint32_t r = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
  return f != f ? 0x7fc0 : (uint16_t)r;
}
""",
    ),
    "ke_scratch": (
        (),
        """\
static inline char* ke_scratch(size_t bytes) {
  static thread_local char* kept = nullptr;
  static thread_local size_t size = 0;
  if (bytes > size) {
    std::free(kept);
    size = (bytes + 4095) / 4096 * 4096;
    kept = (char*)std::aligned_alloc(4096, size);
  }
  return kept;
}
""",
    ),
    "ke_panel": (
        (),
        """\
static inline char* ke_panel(size_t bytes) {
  static thread_local char* kept = nullptr;
  static thread_local size_t size = 0;
  if (bytes > size) {
    std::free(kept);
    size = (bytes + 4095) / 4096 * 4096;
    kept = (char*)std::aligned_alloc(4096, size);
  }
  return kept;
}
""",
    ),
    "ke_vec": (
        (),
        "template <class T> struct Vec "
        "{ typedef T type __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias)); };\n",
    ),
    "ke_transpose": (
        ("ke_vec",),
        """\
// Each of log2(L) rounds interleaves the first half of the rows with the second; all rounds together transpose.
template <class T, int... J>
static inline __attribute__((always_inline)) void ke_square(
    const T* from, int64_t across, T* to, int64_t down, std::integer_sequence<int, J...>) {
  typedef typename Vec<T>::type V;
  typedef decltype(V{} < V{}) I;
  constexpr int L = sizeof...(J);
  const I low = {(J / 2 + J % 2 * L)...}, high = {(L / 2 + J / 2 + J % 2 * L)...};
  V rows[L], next[L];
  for (int i = 0; i < L; ++i) rows[i] = *(const V*)(from + i * across);
  for (int round = 1; round < L; round *= 2) {
    for (int i = 0; i < L / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + L / 2], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + L / 2], high);
    }
    for (int i = 0; i < L; ++i) rows[i] = next[i];
  }
  for (int i = 0; i < L; ++i) *(V*)(to + i * down) = rows[i];
}

// to[q * down + p] = from[p * across + q]; tiles at the edges overlap their neighbours.
template <class T>
static void ke_transpose(const T* from, int64_t across, T* to, int64_t down, int64_t P, int64_t Q) {
  constexpr int L = VECTOR_BYTES / sizeof(T);
  if (P < L || Q < L) {
    for (int64_t p = 0; p < P; ++p) for (int64_t q = 0; q < Q; ++q) to[q * down + p] = from[p * across + q];
    return;
  }
  for (int64_t i = 0; i < P; i += L) for (int64_t j = 0; j < Q; j += L) {
    const int64_t p = i < P - L ? i : P - L, q = j < Q - L ? j : Q - L;
    ke_square(from + p * across + q, across, to + q * down + p, down, std::make_integer_sequence<int, L>{});
  }
}
""",
    ),
    "ke_gemm": (
        ("ke_panel", "ke_vec"),
        """\
// C[m, n] = sum over k0, k1, k2 of A[m, k] * B[k, n] for MR rows and NV vectors of columns, held in registers.
template <int MR, int NV, class T>
static inline __attribute__((always_inline)) void ke_tile(
    const T* __restrict A, int64_t am, const T* __restrict B, T* __restrict C, int64_t cm,
    int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk) {
  typedef typename Vec<T>::type V;
  constexpr int L = VECTOR_BYTES / sizeof(T);
  V acc[MR][NV];
  for (int m = 0; m < MR; ++m) for (int v = 0; v < NV; ++v) acc[m][v] = V{} ;
  for (int64_t i = 0; i < K0; ++i) for (int64_t j = 0; j < K1; ++j) {
    const T* a = A + i * ak[0] + j * ak[1];
    const T* b = B + i * bk[0] + j * bk[1];
    for (int64_t k = 0; k < K2; ++k, a += ak[2], b += bk[2]) {
      V bv[NV];
      for (int v = 0; v < NV; ++v) bv[v] = *(const V*)(b + v * L);
      for (int m = 0; m < MR; ++m) {
        const V av = V{} + a[m * am];
        for (int v = 0; v < NV; ++v) acc[m][v] += av * bv[v];
      }
    }
  }
  for (int m = 0; m < MR; ++m) for (int v = 0; v < NV; ++v) *(V*)(C + m * cm + v * L) = acc[m][v];
}

template <int NV, int MR, class T>
static inline void ke_rows(const T* A, int64_t am, const T* B, T* C, int64_t cm, int64_t M,
                           int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk) {
  int64_t m = 0;
  for (; m + MR <= M; m += MR) ke_tile<MR, NV>(A + m * am, am, B, C + m * cm, cm, K0, K1, K2, ak, bk);
  if constexpr (MR > 1) {
    constexpr int LESS = MR > 8 ? 8 : MR > 4 ? 4 : MR > 2 ? 2 : 1;
    if (m < M) ke_rows<NV, LESS>(A + m * am, am, B, C + m * cm, cm, M - m, K0, K1, K2, ak, bk);
  }
}

// NV vectors of columns for all rows; with PACK the columns of B are first copied side by side into `panel`.
template <int MR, int NV, bool PACK, class T>
static inline void ke_columns(const T* A, int64_t am, const T* B, T* C, int64_t cm, int64_t M,
                              int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk, T* panel) {
  if constexpr (PACK) {
    typedef typename Vec<T>::type V;
    constexpr int L = VECTOR_BYTES / sizeof(T);
    T* to = panel;
    for (int64_t i = 0; i < K0; ++i) for (int64_t j = 0; j < K1; ++j) {
      const T* b = B + i * bk[0] + j * bk[1];
      for (int64_t k = 0; k < K2; ++k, b += bk[2], to += NV * L)
        for (int v = 0; v < NV; ++v) *(V*)(to + v * L) = *(const V*)(b + v * L);
    }
    const int64_t pk[3] = {K1 * K2 * NV * L, K2 * NV * L, NV * L};
    ke_rows<NV, MR>(A, am, panel, C, cm, M, K0, K1, K2, ak, pk);
  } else {
    ke_rows<NV, MR>(A, am, B, C, cm, M, K0, K1, K2, ak, bk);
  }
}

template <int MR, int NV, bool PACK, class T>
static void ke_gemm(const T* A, int64_t am, const T* B, T* C, int64_t cm, int64_t M, int64_t N,
                    int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk) {
  constexpr int L = VECTOR_BYTES / sizeof(T);
  T* panel = PACK ? (T*)ke_panel(sizeof(T) * K0 * K1 * K2 * NV * L) : nullptr;
  int64_t n = 0;
  for (; n + NV * L <= N; n += NV * L) ke_columns<MR, NV, PACK>(A, am, B + n, C + n, cm, M, K0, K1, K2, ak, bk, panel);
  for (; n + L <= N; n += L) ke_columns<MR, 1, PACK>(A, am, B + n, C + n, cm, M, K0, K1, K2, ak, bk, panel);
  if (n < N && N >= L) {
    n = N - L;  // overlaps columns that are done: the same values again
    ke_columns<MR, 1, PACK>(A, am, B + n, C + n, cm, M, K0, K1, K2, ak, bk, panel);
    n = N;
  }
  for (int64_t m = 0; m < M && n < N; ++m) {
    for (int64_t c = n; c < N; ++c) {
      T sum = 0;
      for (int64_t i = 0; i < K0; ++i) for (int64_t j = 0; j < K1; ++j) for (int64_t k = 0; k < K2; ++k)
        sum += A[m * am + i * ak[0] + j * ak[1] + k * ak[2]] * B[i * bk[0] + j * bk[1] + k * bk[2] + c];
      C[m * cm + c] = sum;
    }
  }
}
""",
    ),
}
"""Name -> (names it needs, text)."""


def prelude(used: set[str]) -> str:
    """The functions that a kernel uses, those they need first."""
    done: list[str] = []

    def visit(name: str) -> None:
        for needed in FUNCTIONS[name][0]:
            visit(needed)
        if name not in done:
            done.append(name)

    for name in FUNCTIONS:
        if name in used:
            visit(name)
    return "".join(FUNCTIONS[name][1] for name in done)
