"""C++ that kernels build on: scalar functions written so that compilers vectorise loops over them.

Functions with limits reach them, so that products with the distance from a limit come out right for infinities. exp and log follow the
Cephes scheme (Cody-Waite reduction, minimax polynomial); erf is the rational approximation over [-4, 4] that Eigen and XLA use in single
precision; all are within a few units in the last place.
"""

from __future__ import annotations

import re

from kernelevolve.synthesis.builtin.cpp.tiles import TILES

_ALWAYS = ("cstdint", "cstdlib", "cstring", "omp.h")
_ON_DEMAND = {
    "cmath": re.compile(r"\bstd::(?!numeric_limits|mem|malloc|free|aligned_alloc|(make_)?integer_sequence)\w"),
    "limits": re.compile(r"\bstd::numeric_limits\b"),
    "utility": re.compile(r"\bstd::(make_)?integer_sequence\b"),
}
"""What makes a header needed: reading <cmath> takes a compiler longer than most kernels do."""

FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    # Both operands' NaN count. Chains of the first form stay scalar with some compilers; single ones of the second are slower.
    "ke_max": (
        (),
        "template <class T> static inline T ke_max(T a, T b) { return (a > b || a != a) ? a : b; }\n",
    ),
    "ke_min": (
        (),
        "template <class T> static inline T ke_min(T a, T b) { return (a < b || a != a) ? a : b; }\n",
    ),
    "ke_larger": (
        (),
        "template <class T> static inline T ke_larger(T a, T b) { const T m = a > b ? a : b; return a != a ? a : m; }\n",
    ),
    "ke_smaller": (
        (),
        "template <class T> static inline T ke_smaller(T a, T b) { const T m = a < b ? a : b; return a != a ? a : m; }\n",
    ),
    # The limit is a number.
    "ke_at_least": (
        (),
        "template <class T> static inline T ke_at_least(T a, T limit) { return a <= limit ? limit : a; }\n",
    ),
    "ke_at_most": (
        (),
        "template <class T> static inline T ke_at_most(T a, T limit) { return a >= limit ? limit : a; }\n",
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
  return x > 88.72283f ? __builtin_inff() : r;
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
  r = x == 0.0f ? -__builtin_inff() : r;
  r = x < 0.0f ? __builtin_nanf("") : r;
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
  return __builtin_fabsf(x) < 0.01f ? series : direct;
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
  float r = p / q;
  r = x > 9.02f ? 1.0f : (x < -9.02f ? -1.0f : r);
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
  float r = c * p / q;
  r = x > c ? 1.0f : (x < c ? -1.0f : r);
  return x != x ? x : r;
}
""",
    ),
    "ke_floordiv": (
        (),
        """\
template <class T> static inline T ke_floordiv(T a, T b) { const T q = a / b; return q - ((a % b != 0) && ((a < 0) != (b < 0))); }
template <class T> static inline T ke_mod(T a, T b) { const T r = a % b; return r + ((r != 0 && ((r < 0) != (b < 0))) ? b : T(0)); }
static inline float ke_mod(float a, float b) {
  const float r = __builtin_fmodf(a, b);
  return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r;
}
static inline double ke_mod(double a, double b) {
  const double r = __builtin_fmod(a, b);
  return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r;
}
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
template <int SLOT = 0> static inline char* ke_scratch(size_t bytes) {
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
    **TILES,
    "advise": (
        (),
        """\
#include <sys/mman.h>
#include <unistd.h>
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// Ask for large pages under a table, so that rows at random places do not miss the table of pages as well. A hint: it may be refused.
extern "C" void advise(const void* table, int64_t bytes) {
#ifdef MADV_HUGEPAGE
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = ((uintptr_t)table + page - 1) / page * page, end = ((uintptr_t)table + bytes) / page * page;
  if (end <= first) return;
  madvise((void*)first, end - first, MADV_HUGEPAGE);
  madvise((void*)first, end - first, MADV_COLLAPSE);
#endif
}
""",
    ),
}
"""Name -> (names it needs, text)."""


def header(text: str) -> str:
    """The lines that include what `text` needs."""
    names = [*_ALWAYS, *(name for name, sign in _ON_DEMAND.items() if sign.search(text))]
    return "".join(f"#include <{name}>\n" for name in sorted(names))


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
