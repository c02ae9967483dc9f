"""C++ functions that kernels use, written so that compilers vectorise loops over them.

Functions with limits return them exactly, so that products with the distance from a limit are right for infinities. exp
and log follow the Cephes scheme (Cody-Waite reduction, minimax polynomial); erf is the rational approximation over
[-4, 4] that Eigen and XLA use in single precision. All are accurate to a few units in the last place.
"""

from __future__ import annotations

import re

from kernelevolve.synthesis.builtin.cpp.statements.sorting import SORTING
from kernelevolve.synthesis.builtin.cpp.statements.tiles import TILES

_ALWAYS = ("cstdint", "cstdlib", "cstring", "omp.h")
_ON_DEMAND = {
    "algorithm": re.compile(r"\bstd::(partial_)?sort\b"),
    "cmath": re.compile(
        r"\bstd::(?!numeric_limits|mem|sort|partial_sort|malloc|free|aligned_alloc|(make_)?integer_sequence)\w"
    ),
    "limits": re.compile(r"\bstd::numeric_limits\b"),
    "utility": re.compile(r"\bstd::(make_)?integer_sequence\b"),
}
"""The patterns that need a header. Parsing <cmath> takes longer than compiling most kernels."""

FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    # Contraction is off: a fused a * b - c * d is not exactly 0 for equal products. Code that may fuse calls this.
    "ke_fma": (
        (),
        """\
static inline float ke_fma(float a, float b, float c) {
#ifdef __FP_FAST_FMAF
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
static inline double ke_fma(double a, double b, double c) {
#ifdef __FP_FAST_FMA
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}
""",
    ),
    # NaN in either operand wins. Some compilers do not vectorise chains of ke_max; a single ke_larger is slower.
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
    # The limit is not NaN.
    "ke_at_least": (
        (),
        "template <class T> static inline T ke_at_least(T a, T limit) { return a < limit ? limit : a; }\n",
    ),
    "ke_at_most": (
        (),
        "template <class T> static inline T ke_at_most(T a, T limit) { return a > limit ? limit : a; }\n",
    ),
    "ke_exp": (
        ("ke_fma",),
        """\
static inline float ke_exp(float x) {
  const float n = __builtin_rintf(x * 1.44269504088896341f);
  float f = ke_fma(n, -0.693145751953125f, x);
  f = ke_fma(n, -1.428606765330187e-06f, f);
  float p = 1.9875691500e-4f;
  p = ke_fma(p, f, 1.3981999507e-3f);
  p = ke_fma(p, f, 8.3334519073e-3f);
  p = ke_fma(p, f, 4.1665795894e-2f);
  p = ke_fma(p, f, 1.6666665459e-1f);
  p = ke_fma(p, f, 5.0000001201e-1f);
  p = ke_fma(p * f, f, f) + 1.0f;
  // Scaling adds to the exponent, which stays in range for 2^-126 and for 2^128, where p is below 1.
  int32_t bits;
  std::memcpy(&bits, &p, 4);
  bits += (int32_t)n << 23;
  float r;
  std::memcpy(&r, &bits, 4);
  r = x < -87.33654f ? 0.0f : r;
  return x > 88.72283f ? __builtin_inff() : r;
}
""",
    ),
    "ke_log": (
        ("ke_fma",),
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
  p = ke_fma(p, f, -1.1514610310e-1f);
  p = ke_fma(p, f, 1.1676998740e-1f);
  p = ke_fma(p, f, -1.2420140846e-1f);
  p = ke_fma(p, f, 1.4249322787e-1f);
  p = ke_fma(p, f, -1.6668057665e-1f);
  p = ke_fma(p, f, 2.0000714765e-1f);
  p = ke_fma(p, f, -2.4999993993e-1f);
  p = ke_fma(p, f, 3.3333331174e-1f);
  float r = ke_fma(f * z, p, e * -2.12194440e-4f);
  r = ke_fma(z, -0.5f, r);
  r = ke_fma(e, 0.693359375f, f + r);
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
  const float u = 1.0f + x, lost = x - (u - 1.0f);
  const float direct = ke_log(u), rest = lost / u;
  return direct + (__builtin_fabsf(rest) < 1.0f ? rest : 0.0f);
}
""",
    ),
    "ke_sigmoid": (
        ("ke_exp",),
        "static inline float ke_sigmoid(float x) { return 1.0f / (1.0f + ke_exp(-x)); }\n",
    ),
    "ke_tanh": (
        ("ke_fma",),
        """\
static inline float ke_tanh(float x) {
  const float c = x < -7.90531110763549805f ? -7.90531110763549805f : (x > 7.90531110763549805f ? 7.90531110763549805f : x);
  const float z = c * c;
  float p = -2.76076847742355e-16f;
  p = ke_fma(p, z, 2.00018790482477e-13f);
  p = ke_fma(p, z, -8.60467152213735e-11f);
  p = ke_fma(p, z, 5.12229709037114e-08f);
  p = ke_fma(p, z, 1.48572235717979e-05f);
  p = ke_fma(p, z, 6.37261928875436e-04f);
  p = ke_fma(p, z, 4.89352455891786e-03f);
  p = p * c;
  float q = 1.19825839466702e-06f;
  q = ke_fma(q, z, 1.18534705686654e-04f);
  q = ke_fma(q, z, 2.26843463243900e-03f);
  q = ke_fma(q, z, 4.89352518554385e-03f);
  float r = p / q;
  r = x > 9.02f ? 1.0f : (x < -9.02f ? -1.0f : r);
  return x != x ? x : r;
}
""",
    ),
    "ke_erf": (
        ("ke_fma",),
        """\
static inline float ke_erf(float x) {
  const float c = x < -3.832506856900711f ? -3.832506856900711f : (x > 3.832506856900711f ? 3.832506856900711f : x);
  const float z = c * c;
  float p = 0.00022905065861350646f;
  p = ke_fma(p, z, 0.0034082910107109506f);
  p = ke_fma(p, z, 0.050955695062380861f);
  p = ke_fma(p, z, 0.18520832239976145f);
  p = ke_fma(p, z, 1.128379143519084f);
  float q = -1.1791602954361697e-7f;
  q = ke_fma(q, z, 0.000023547966471313185f);
  q = ke_fma(q, z, 0.0010179625278914885f);
  q = ke_fma(q, z, 0.014070470171167667f);
  q = ke_fma(q, z, 0.11098505178285362f);
  q = ke_fma(q, z, 0.49746925110067538f);
  q = ke_fma(q, z, 1.0f);
  float r = c * p / q;
  r = x > c ? 1.0f : (x < c ? -1.0f : r);
  return x != x ? x : r;
}
""",
    ),
    # PyTorch raises on an integer division by 0. Here neither that nor the least number divided by -1 may trap.
    "ke_truncdiv": (
        (),
        """\
template <class T> static inline T ke_truncdiv(T a, T b) {
  return T(-1) < T(0) && b == T(-1) ? T(-a) : b == 0 ? T(0) : T(a / b);
}
""",
    ),
    "ke_floordiv": (
        ("ke_truncdiv", "ke_fmod"),
        """\
template <class T> static inline T ke_floordiv(T a, T b) {
  const T r = ke_fmod<T>(a, b);
  return T(ke_truncdiv<T>(a, b) - (r != 0 && ((r < 0) != (b < 0))));
}
""",
    ),
    "ke_fmod": (
        (),
        """\
template <class T> static inline T ke_fmod(T a, T b) {
  return (T(-1) < T(0) && b == T(-1)) || b == 0 ? T(0) : T(a % b);
}
template <> inline float ke_fmod<float>(float a, float b) { return __builtin_fmodf(a, b); }
template <> inline double ke_fmod<double>(double a, double b) { return __builtin_fmod(a, b); }
""",
    ),
    "ke_mod": (
        ("ke_fmod",),
        """\
template <class T> static inline T ke_mod(T a, T b) {
  const T r = ke_fmod<T>(a, b);
  return r != 0 && ((r < 0) != (b < 0)) ? T(r + b) : r;
}
""",
    ),
    # (a - remainder) / b is an integer up to rounding.
    "ke_floordiv_float": (
        ("ke_fmod",),
        """\
template <class T> static inline T ke_floordiv_float(T a, T b) {
  if (b == 0) return a / b;
  const T r = ke_fmod<T>(a, b);
  T q = (a - r) / b;
  if (r != 0 && (b < 0) != (r < 0)) q -= T(1);
  if (q == 0) return sizeof(T) == 4 ? T(__builtin_copysignf(0.0f, float(a / b))) : T(__builtin_copysign(0.0, double(a / b)));
  const T whole = sizeof(T) == 4 ? T(__builtin_floorf(float(q))) : T(__builtin_floor(double(q)));
  return q - whole > T(0.5) ? whole + T(1) : whole;
}
""",
    ),
    # Counts beyond the width, and negative ones, shift all bits out.
    "ke_shl": (
        (),
        """\
template <class T> static inline T ke_shl(T a, T n) {
  constexpr int bits = 8 * sizeof(T);
  const bool inside = n >= T(0) && n < T(bits);
  const uint64_t moved = uint64_t(a) << (inside ? int(n) : 0);
  return inside ? T(moved) : T(0);
}
""",
    ),
    "ke_shr": (
        (),
        """\
template <class T> static inline T ke_shr(T a, T n) {
  constexpr int most = 8 * sizeof(T) - (T(-1) < T(0));
  const int by = n >= T(0) && n < T(most) ? int(n) : most;
  return T(sizeof(T) == 8 ? int64_t(a) >> by : int64_t(int32_t(a) >> by));
}
""",
    ),
    "ke_pow": (
        (),
        """\
template <class T> static inline T ke_pow(T a, T n) {
  if (n < 0) return a == T(1) ? T(1) : a == T(-1) ? (n % 2 ? T(-1) : T(1)) : T(0);
  T result = 1;
  for (; n > 0; n = T(n / 2)) {
    if (n % 2) result = T(result * a);
    a = T(a * a);
  }
  return result;
}
""",
    ),
    "ke_sign": (
        (),
        "template <class T> static inline T ke_sign(T a) { return T((a > T(0)) - (a < T(0))); }\n",
    ),
    "ke_signbit": (
        (),
        """\
template <class T> static inline bool ke_signbit(T a) { return a < T(0); }
template <> inline bool ke_signbit<float>(float a) { int32_t b; std::memcpy(&b, &a, 4); return b < 0; }
template <> inline bool ke_signbit<double>(double a) { int64_t b; std::memcpy(&b, &a, 8); return b < 0; }
""",
    ),
    # NaN is greater than all numbers.
    "ke_count": (
        (),
        """\
template <class T> static inline int64_t ke_count_lt(const T* b, int64_t n, T v) {
  int32_t c = 0;
  for (int64_t j = 0; j < n; ++j) c += !(b[j] >= v);
  return c;
}
template <class T> static inline int64_t ke_count_le(const T* b, int64_t n, T v) {
  int32_t c = 0;
  for (int64_t j = 0; j < n; ++j) c += !(b[j] > v);
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
    p = !(p[half - 1] >= v) ? p + half : p;
    n -= half;
  }
  return (p - b) + (n == 1 && !(*p >= v));
}
template <class T> static inline int64_t ke_upper(const T* b, int64_t n, T v) {
  const T* p = b;
  while (n > 1) {
    const int64_t half = n / 2;
    p = !(p[half - 1] > v) ? p + half : p;
    n -= half;
  }
  return (p - b) + (n == 1 && !(*p > v));
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
      place[l] += (RIGHT ? !(probe > wanted[l]) : !(probe >= wanted[l])) ? half : 0;
    }
    n -= half;
  }
  if (n == 1) {
    #pragma omp simd
    for (int64_t l = 0; l < count; ++l) {
      const T probe = b[place[l]];
      place[l] += RIGHT ? !(probe > wanted[l]) : !(probe >= wanted[l]);
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
    **SORTING,
    "advise": (
        (),
        """\
#include <sys/mman.h>
#include <unistd.h>
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// Ask for huge pages for a table, to reduce TLB misses of gathered rows. The operating system may refuse.
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
"""The functions: by name, the names that each needs, and its text."""


def header(text: str) -> str:
    """Return the include lines that a text needs."""
    names = [*_ALWAYS, *(name for name, sign in _ON_DEMAND.items() if sign.search(text))]
    return "".join(f"#include <{name}>\n" for name in sorted(names))


def prelude(used: set[str]) -> str:
    """Return the text of the used functions and of those that they need, in order."""
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
