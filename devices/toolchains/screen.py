"""Restrictions on the flags and includes of C++ kernels.

A compiler can run programs (plugins, wrappers, specs) and read or write files of its caller. Kernels may therefore use only
allowed flags, and include only system headers. The check of sources is textual and stops mistakes and simple tricks; the
sandbox of the process that runs the kernel restricts what the kernel does.
"""

from __future__ import annotations

import re

_SAFE_F = (
    r"fast-math|finite-math-only|associative-math|reciprocal-math|math-errno|trapping-math|signed-zeros|"
    r"unsafe-math-optimizations|rounding-math|signaling-nans|cx-limited-range|cx-fortran-rules|single-precision-constant|"
    r"tree-[a-z-]+|vectorize|slp-vectorize|unroll-loops|unroll-all-loops|peel-loops|split-loops|loop-[a-z-]+|"
    r"inline|inline-functions|inline-small-functions|omit-frame-pointer|strict-aliasing|strict-overflow|wrapv|"
    r"exceptions|rtti|asynchronous-unwind-tables|unwind-tables|stack-protector|prefetch-loop-arrays|openmp|openmp-simd|"
    r"gcse|gcse-[a-z]+|ipa-[a-z-]+|schedule-insns2?|sched-[a-z-]+|rename-registers|modulo-sched|ivopts|web|"
    r"function-sections|data-sections|graphite-identity|semantic-interposition|plt|common|"
    r"builtin|threadsafe-statics|align-functions|align-loops|merge-constants|delete-null-pointer-checks"
)
_ALLOWED = re.compile(
    r"-O([0-3sgz]|fast)?|"
    r"-march=[\w.+-]+|-mtune=[\w.+-]+|-mcpu=[\w.+-]+|-mprefer-vector-width=(none|128|256|512)|"
    r"-m(no-)?(avx[\w.-]*|fma4?|f16c|sse[\w.]*|ssse3|bmi2?|popcnt|lzcnt|amx-[\w]+|vzeroupper)|"
    rf"-f(no-)?({_SAFE_F})|"
    r"-fvisibility=(hidden|default)|-ffp-contract=(fast|on|off)|-fvect-cost-model=\w+|-fsimd-cost-model=\w+|"
    r"-fexcess-precision=\w+|-finline-limit=\d+|-falign-(functions|loops)=\d+|"
    r"-fopenmp|-std=(c|gnu)\+\+(17|20|23|2a|2b)|"
    r"-[DU][A-Za-z_]\w*(=[^\n\r\0]*)?|"
    r"-W(no-)?[a-z][a-z0-9+-]*(=\d+)?|-Wall|-Wextra|-w|"
    r"-g[0-3]?|-l(m|mvec|gomp)|-pthread"
)
_INCLUDE = re.compile(
    r"^[^\S\n]*(?:#|%:|\?\?=)[^\S\n]*(include_next|include|import|embed)\b[^\S\n]*(.*)$", re.MULTILINE
)
_SYSTEM_HEADER = re.compile(r"<[A-Za-z0-9_][\w.+-]*(?:/[A-Za-z0-9_][\w.+-]*)*>\s*")
_COMMENTS = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*")', re.DOTALL)


def refused_flag(flag: str) -> str | None:
    """Return why `flag` may not be passed to the compiler, or None if it may."""
    if _ALLOWED.fullmatch(flag):
        return None
    return (
        f"compiler flag {flag!r} is not allowed; allowed are -O*, -march=, -mtune=, "
        "-mprefer-vector-width=, -mavx*, -mfma, -f... that optimise, -fopenmp, -std=c++17 and later, -D, -U, -W..., "
        "-g, -lm, -lmvec, -lgomp"
    )


def refused_source(source: str) -> str | None:
    """Return why `source` may not be compiled (it reads files other than system headers), or None if it may."""
    spliced = re.sub(r"\\[^\S\n]*\n", "", source.replace("\r\n", "\n"))
    # The text is checked with and without comments: a raw string can hide an include from one of the checks, but not from both.
    for text in (spliced, _COMMENTS.sub(lambda found: found[1] or " ", spliced)):
        for found in _INCLUDE.finditer(text):
            header = re.sub(r"//.*|/\*.*?\*/", "", found[2])
            if found[1] != "include" or not _SYSTEM_HEADER.fullmatch(header):
                return f"only headers of the system may be included, as <name>: {found[0].strip()[:100]!r} is refused"
    joined = re.sub(r'"\s*"', "", spliced)
    if re.search(r"\.\s*incbin\b|\.\s*include\b", joined):
        return "assembler directives that read files (.incbin, .include) are refused"
    return None
