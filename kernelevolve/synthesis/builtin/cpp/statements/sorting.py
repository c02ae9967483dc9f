"""Sorting of rows by integer keys: the upper half orders like the element, the lower half is its index."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.builtin.cpp.scalar import CTYPE, index_text
from kernelevolve.synthesis.builtin.cpp.statements.nest import Nest, NestWriter
from kernelevolve.synthesis.builtin.plan.transform import extent_hint
from kernelevolve.synthesis.traced.builder import compute_dtype
from kernelevolve.synthesis.traced.program import Axis, Sort

_LONG = 512
"""The number of elements from which radix sort is faster than comparison sort."""

SORTING: dict[str, tuple[tuple[str, ...], str]] = {
    # The index makes all keys distinct, so that any sorting algorithm is stable.
    "ke_key": (
        (),
        """\
template <size_t BYTES> struct ke_bits { typedef uint32_t one; typedef uint64_t key; };
template <> struct ke_bits<8> { typedef uint64_t one; typedef unsigned __int128 key; };

template <bool DESCENDING, class T> static inline typename ke_bits<sizeof(T)>::key ke_key(T x, int64_t place) {
  typedef typename ke_bits<sizeof(T)>::one One;
  typedef typename ke_bits<sizeof(T)>::key Key;
  constexpr int width = 8 * sizeof(One);
  constexpr One sign = One(1) << (width - 1);
  One bits = One(x) ^ (T(-1) < T(0) ? sign : One(0));
  if (T(0.5) != T(0)) {
    x = x == T(0) ? T(0) : x;
    std::memcpy(&bits, &x, sizeof(T));
    bits = x != x ? ~One(0) : bits & sign ? ~bits : bits | sign;
  }
  return Key(DESCENDING ? One(~bits) : bits) << width | Key(place);
}
""",
    ),
    "ke_sort": (
        (),
        """\
template <class K> static inline void ke_sort(K* keys, int64_t n, int64_t wanted) {
  if (wanted < n) std::partial_sort(keys, keys + wanted, keys + n);
  else std::sort(keys, keys + n);
}
""",
    ),
    "ke_radix": (
        (),
        """\
template <class K> static inline void ke_radix(K* keys, K* room, int64_t n) {
  K* from = keys;
  K* to = room;
  for (int shift = 4 * sizeof(K); shift < int(8 * sizeof(K)); shift += 8) {
    int64_t starts[257] = {};
    for (int64_t i = 0; i < n; ++i) ++starts[1 + int(from[i] >> shift & 255)];
    bool same = false;
    for (int d = 1; d <= 256; ++d) same |= starts[d] == n;
    if (same) continue;
    for (int d = 1; d <= 256; ++d) starts[d] += starts[d - 1];
    for (int64_t i = 0; i < n; ++i) to[starts[int(from[i] >> shift & 255)]++] = from[i];
    K* other = from;
    from = to;
    to = other;
  }
  if (from != keys) std::memcpy(keys, from, n * sizeof(K));
}
""",
    ),
}
"""The C++ functions for sorting: by name, the names that each needs, and its text."""


class SortWriter(NestWriter):
    """Writes sorts as C++."""

    def _sort(self, s: Sort, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        others = [a for a in s.axes if a.symbol not in fixed and a is not s.along]
        index = tuple(a.symbol for a in s.axes)
        ctype = CTYPE[compute_dtype(s.value.dtype)]
        nest = Nest([self._loop(a, tile) for a in others])
        inside: list[str] = []
        level = len(others)

        def declare(k: int, line: str) -> None:
            (inside if k == level else nest.inside[k + 1]).append(line)

        symbols = [*(a.symbol for a in others), s.position.symbol]
        value = self._scalars(symbols, declare).text(s.value, level)
        length, wanted = index_text(s.position.extent), index_text(s.along.extent)
        self.used.update(("ke_key", "ke_scratch"))
        place, rank = s.position.symbol.name, s.along.symbol.name
        lines = [
            f"typedef ke_bits<sizeof({ctype})>::key Key;",
            f"Key* keys = (Key*)ke_scratch<2>({2 if self._by_digits(s) else 1} * sizeof(Key) * ({length} + 1));",
            f"for (int64_t {place} = 0; {place} < {length}; ++{place}) {{",
            *("  " + x for x in inside),
            f"  keys[{place}] = ke_key<{'true' if s.descending else 'false'}, {ctype}>({value}, {place});",
            "}",
            self._sorted(s, length, wanted),
            f"for (int64_t {rank} = 0; {rank} < {wanted}; ++{rank}) {{",
            f"  const int64_t at = int64_t(keys[{rank}] & (Key(-1) >> 4 * sizeof(Key)));",
            f"  {self._store(s.buffer, index, 'at')}",
            "}",
        ]
        return nest.render(lines)

    def _by_digits(self, s: Sort) -> bool:
        """Return whether rows use radix sort. Comparison sort is less work if few ranks are needed."""
        hints = self.program.hints
        length = extent_hint(s.position.extent, hints)
        many = length >= _LONG and 4 * extent_hint(s.along.extent, hints) >= length
        words = ("radix", "compare") if many else ("compare", "radix")
        return self.choices.word(f"sort.{s.buffer}", *words) == "radix"

    def _sorted(self, s: Sort, length: str, wanted: str) -> str:
        if self._by_digits(s):
            self.used.add("ke_radix")
            return f"ke_radix(keys, keys + {length}, {length});"
        self.used.add("ke_sort")
        return f"ke_sort(keys, {length}, {wanted});"
