"""Replacements for the functions and types that scalar code of TorchInductor uses from torch's headers.

The names are those of TorchInductor, the implementations are not. Sums and moments for which TorchInductor uses cascades
are kept in double, which is as exact and still vectorises. What raises in PyTorch (an index out of bounds, an integer
division by zero) ends the process with a message, since an exception cannot leave a parallel region. Selections use
conditional values instead of && and ||, because compilers vectorise only loops over the former.
"""

from __future__ import annotations

import re

from kernelevolve.synthesis.builtin.cpp.prelude import prelude

_HEADER = """\
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <omp.h>
"""

_FAIL = """\
[[noreturn, maybe_unused]] static void ke_fail(const char* message) {
  std::fprintf(stderr, "kernel: %s\\n", message);
  std::abort();
}
"""

_PARTS: tuple[tuple[str, str], ...] = (
    (
        r"at::(Half|BFloat16)\b",
        """\
namespace at {
struct BFloat16 {
  uint16_t bits;
  BFloat16() = default;
  BFloat16(float value) {
    uint32_t wide;
    std::memcpy(&wide, &value, 4);
    bits = value != value ? 0x7fc0 : (uint16_t)((wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
  }
  operator float() const {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
  }
};
typedef _Float16 Half;
}
""",
    ),
    (
        r"c10::(convert|bit_cast)\b",
        """\
namespace c10 {
template <class To, class From> static inline To convert(From value) { return static_cast<To>(value); }
template <class To, class From> static inline To bit_cast(const From& value) {
  static_assert(sizeof(To) == sizeof(From), "a cast between sizes");
  To result;
  std::memcpy(&result, &value, sizeof(To));
  return result;
}
}
""",
    ),
    (
        r"c10::div_|floor_divide_integral|remainder_integral",
        """\
namespace c10 {
template <class T> static inline T div_floor_integer(T a, T b) {
  const T quotient = a / b;
  return quotient - ((quotient * b != a) & ((a ^ b) < 0));
}
template <class T> static inline T div_floor_floating(T a, T b) {
  if (b == 0) return a / b;
  const T rest = std::fmod(a, b);
  T quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(T(0), a / b);
  const T floor = std::floor(quotient);
  return quotient - floor > T(0.5) ? floor + 1 : floor;
}
template <class A, class B> static inline std::common_type_t<A, B> div_mod(A a, B b) {
  const auto rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
}
""",
    ),
    (
        r"floor_divide_integral|remainder_integral|\bmod\(|integer_div",
        """\
static inline void ke_divisible(bool divisor) {
  if (__builtin_expect(!divisor, 0)) ke_fail("an integer is divided by zero");
}
template <class A, class B> static inline std::common_type_t<A, B> floor_divide_integral(A a, B b) {
  typedef std::common_type_t<A, B> C;
  ke_divisible(b != 0);
  const C x = a, y = b, quotient = x / y;
  return quotient - ((quotient * y != x) & ((x ^ y) < 0));
}
template <class A, class B> static inline std::common_type_t<A, B> mod(A a, B b) {
  typedef std::common_type_t<A, B> C;
  if constexpr (std::is_floating_point_v<C>) {
    return std::fmod(C(a), C(b));
  } else {
    ke_divisible(b != 0);
    return C(b) == C(-1) ? C(0) : C(a) % C(b);
  }
}
template <class T> static inline T remainder_integral(T a, T b) {
  ke_divisible(b != 0);
  if (b == T(-1)) return 0;
  const T rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
""",
    ),
    (
        r"(max|min)_propagate_nan",
        """\
template <class T> static inline T max_propagate_nan(T a, T b) {
  const T more = a > b ? a : b;
  return a != a ? a : more;
}
template <class T> static inline T min_propagate_nan(T a, T b) {
  const T less = a < b ? a : b;
  return a != a ? a : less;
}
""",
    ),
    (
        r"IndexValue|arg(max|min)_combine|(greater|less)_or_nan",
        """\
// Whether the first of two elements is chosen: NaN before numbers, and the lower index among equals.
template <class T> static inline bool greater_or_nan(T a, T b, int64_t ia, int64_t ib) {
  if (a != a) return b == b || ia < ib;
  return a > b || (a == b && ia < ib);
}
template <class T> static inline bool less_or_nan(T a, T b, int64_t ia, int64_t ib) {
  if (a != a) return b == b || ia < ib;
  return a < b || (a == b && ia < ib);
}
template <class T> struct IndexValue {
  int64_t index = 0;
  T value = T();
  IndexValue() = default;
  IndexValue(int64_t i, T v) : index(i), value(v) {}
};
template <class T> static inline IndexValue<T>& argmax_combine(IndexValue<T>& best, T value, int64_t index) {
  if (!greater_or_nan(best.value, value, best.index, index)) best = IndexValue<T>(index, value);
  return best;
}
template <class T> static inline IndexValue<T>& argmin_combine(IndexValue<T>& best, T value, int64_t index) {
  if (!less_or_nan(best.value, value, best.index, index)) best = IndexValue<T>(index, value);
  return best;
}
template <class T> static inline IndexValue<T>& argmax_combine(IndexValue<T>& best, const IndexValue<T>& other) {
  return argmax_combine(best, other.value, other.index);
}
template <class T> static inline IndexValue<T>& argmin_combine(IndexValue<T>& best, const IndexValue<T>& other) {
  return argmin_combine(best, other.value, other.index);
}
""",
    ),
    (
        r"CascadeSum|cascade_sum",
        """\
template <class T, uint64_t> struct CascadeSumHelper {
  typedef std::conditional_t<std::is_floating_point_v<T>, double, T> Sum;
  Sum sum = 0;
  CascadeSumHelper() = default;
  CascadeSumHelper(uint64_t) {}
};
template <class T, uint64_t N> static inline T cascade_sum_combine(const T& value, CascadeSumHelper<T, N>* to) {
  to->sum += value;
  return T(to->sum);
}
template <class T, uint64_t N> static inline T cascade_sum_final(const CascadeSumHelper<T, N>* of) { return T(of->sum); }
""",
    ),
    (
        r"[Ww]elford",
        """\
// Mean and sum of squared deviations, merged pairwise (Chan, Golub and LeVeque 1979).
template <class T> struct Welford {
  double mean = 0, m2 = 0, weight = 0;
  Welford() = default;
  Welford(double a, double b, double c) : mean(a), m2(b), weight(c) {}
};
template <class T> static inline Welford<T> welford_combine(const Welford<T>& a, const Welford<T>& b) {
  const double weight = a.weight + b.weight;
  if (weight == 0) return a;
  const double delta = b.mean - a.mean, share = b.weight / weight;
  return Welford<T>(a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.weight * share, weight);
}
template <class T> static inline Welford<T> welford_combine(const Welford<T>& a, T value) {
  return welford_combine(a, Welford<T>(value, 0, 1));
}
// Values of up to 32 bits are summed in double, with their squares, which is exact enough and vectorises.
template <class T, uint64_t> struct WelfordHelper {
  double sum = 0, squares = 0, weight = 0;
  WelfordHelper() = default;
  WelfordHelper(uint64_t) {}
};
template <class T, uint64_t N>
static inline Welford<T> welford_combine(const Welford<T>& a, T value, WelfordHelper<T, N>* parts) {
  if constexpr (sizeof(T) > 4) return welford_combine(a, value);
  const double v = value;
  parts->sum += v;
  parts->squares += v * v;
  parts->weight += 1;
  return a;
}
template <class T, uint64_t N> static inline Welford<T> welford_combine(const Welford<T>& a, WelfordHelper<T, N>* parts) {
  if (parts->weight == 0) return a;
  const double mean = parts->sum / parts->weight;
  return welford_combine(a, Welford<T>(mean, std::max(0.0, parts->squares - mean * parts->sum), parts->weight));
}
""",
    ),
    (
        r"atomic_add",
        """\
template <class T> static inline void atomic_add(T* to, T value) {
  if constexpr (std::is_arithmetic_v<T>) {
    #pragma omp atomic
    *to += value;
  } else {
    uint16_t* const place = (uint16_t*)to;
    uint16_t seen = __atomic_load_n(place, __ATOMIC_RELAXED), wanted;
    do {
      T now;
      std::memcpy(&now, &seen, 2);
      now = T(float(now) + float(value));
      std::memcpy(&wanted, &now, 2);
    } while (!__atomic_compare_exchange_n(place, &seen, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  }
}
""",
    ),
    (
        r"TORCH_CHECK",
        """\
#define AOTI_TORCH_CHECK(holds, message, ...) do { if (__builtin_expect(!(holds), 0)) ke_fail(message); } while (0)
#define TORCH_CHECK AOTI_TORCH_CHECK
""",
    ),
)

_POLYNOMIALS = {name: f"ke_{name}" for name in ("exp", "log", "log1p", "tanh", "erf")}
"""The vectorisable replacement, for float, of each function of the C++ library that is not vectorised."""
_POLYNOMIAL = """\
template <class T> static inline auto ke_any_{name}(T x) {{
  if constexpr (USE_POLYNOMIALS && std::is_same_v<T, float>) return {function}(x);
  else return std::{name}(x);
}}
"""

_DIVISION_REPORT = re.compile(r"^[ \t]*(std::atomic<int> )?inductor_cpu_\w*integer_div_error\w*.*;\n", re.MULTILINE)
"""The code that records a division by zero to raise after the parallel region. Here the process ends at once."""
_PARALLEL = re.compile(r"#pragma omp parallel(?: num_threads\(\d+\))?[ \t]*$", re.MULTILINE)
_FOR = re.compile(r"(#pragma omp for\b[^\n]*?)[ \t]*$", re.MULTILINE)
_IVDEP = re.compile(r"#pragma GCC ivdep[ \t]*$", re.MULTILINE)


def tunable(text: str, number: int) -> str:
    """Replace the tuning decisions of a function by macros: parallelism, scheduling, vectorisation.

    Args:
        text: The text of the function.
        number: A number for the names of the macros.
    """
    text = _DIVISION_REPORT.sub("", text)
    head = ""
    if _PARALLEL.search(text):
        head += f"#define USE_THREADS_{number} 1\n"
        text = _PARALLEL.sub(f"#pragma omp parallel if(USE_THREADS_{number})", text)
        text = _FOR.sub(lambda m: m[0] if "schedule(" in m[0] else f"{m[1]} schedule(static)", text)
    if _IVDEP.search(text):
        head += (
            f'#define USE_SIMD_{number} 0\n#if USE_SIMD_{number}\n#define LOOP_{number} _Pragma("omp simd")\n'
            f'#else\n#define LOOP_{number} _Pragma("GCC ivdep")\n#endif\n'
        )
        text = _IVDEP.sub(f"LOOP_{number}", text)
    return head + text


def with_prelude(text: str) -> str:
    """Return the text of C++ functions after the definitions that they use."""
    needed = "".join(part for pattern, part in _PARTS if re.search(pattern, text))
    fast = [name for name in _POLYNOMIALS if f"std::{name}(" in text]
    if fast:
        needed += "#define USE_POLYNOMIALS 1\n" + prelude({_POLYNOMIALS[name] for name in fast})
        needed += "".join(_POLYNOMIAL.format(name=name, function=_POLYNOMIALS[name]) for name in fast)
        text = re.sub(rf"\bstd::({'|'.join(fast)})\(", r"ke_any_\1(", text)
    return _HEADER + (_FAIL if "ke_fail" in needed else "") + needed + "\n" + text
