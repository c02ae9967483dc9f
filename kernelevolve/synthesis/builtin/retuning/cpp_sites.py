"""The tunable values of C++ text (macros, constants, template defaults and pragmas) and of compiler flags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.retuning.sites import Site, constant_domain, sizes_around

_NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
_VALUE = r"(?P<value>true|false|(?:0|[1-9][0-9]*)(?=[uUlLzZ]*\b)(?!['.]))[uUlLzZ]*"
_TYPE = r"(?:(?:std::)?u?int(?:8|16|32|64|ptr)?(?:_t)?|(?:std::)?(?:size_t|ptrdiff_t)|unsigned|long|short|auto|bool)"
_CONSTANTS = (
    ("define", re.compile(rf"^[ \t]*#[ \t]*define[ \t]+(?P<name>\w+)[ \t]+\(?{_VALUE}\)?[ \t]*\r?$", re.MULTILINE)),
    (
        "constexpr",
        re.compile(
            rf"\b(?:constexpr|const)\s+(?:static\s+)?(?:{_TYPE}\s+)+(?P<name>\w+)\s*(?:=\s*|\{{\s*){_VALUE}\s*[;}}]"
        ),
    ),
    ("template", re.compile(rf"[<,]\s*(?:const\s+)?(?:{_TYPE}\s+)+(?P<name>\w+)\s*=\s*{_VALUE}\s*(?=[,>])")),
)
_PRAGMA = re.compile(r"#[ \t]*pragma[ \t](?:[^\n\\]|\\\r?\n|\\.)*|_Pragma\s*\(\s*\"[^\"\n]*\"")
_CLAUSES = (
    ("unroll", re.compile(r"\bunroll(?:[ \t]+|[ \t]*\([ \t]*|[ \t]+partial[ \t]*\([ \t]*)(?P<value>[1-9][0-9]*)\b")),
    ("num_threads", re.compile(r"\bnum_threads[ \t]*\([ \t]*(?P<value>[1-9][0-9]*)[ \t]*\)")),
    ("simdlen", re.compile(r"\bsimdlen[ \t]*\([ \t]*(?P<value>[1-9][0-9]*)[ \t]*\)")),
    ("schedule_chunk", re.compile(r"\bschedule[ \t]*\([^,()]*,[ \t]*(?P<value>[1-9][0-9]*)[ \t]*\)")),
    ("schedule", re.compile(r"\bschedule[ \t]*\((?:[^,():]*:)?[ \t]*(?P<value>static|dynamic|guided)\b")),
)
_SCHEDULES = ("static", "dynamic", "guided")
_LEVELS = ("-O2", "-O3", "-Ofast")
_WIDTH = "-mprefer-vector-width="
_SWITCHED = re.compile(
    r"-f(?:no-)?(?P<name>fast-math|unroll-loops|unroll-all-loops|tree-vectorize|math-errno|trapping-math|signed-zeros|"
    r"associative-math|reciprocal-math|peel-loops|split-loops|loop-interchange|omit-frame-pointer|rounding-math|"
    r"tree-loop-distribution|vect-cost-model|prefetch-loop-arrays)"
)


def cpp_sites(text: str) -> Iterator[Site]:
    """Yield the sites of a C++ text, in no particular order. Comments and strings have none."""
    code = _NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for kind, pattern in _CONSTANTS:
        if kind == "template" and "template" not in code:
            continue
        for match in pattern.finditer(code):
            spelled = match["value"]
            value = spelled == "true" if spelled in {"true", "false"} else int(spelled)
            domain = constant_domain(match["name"], value)
            if domain:
                yield Site(match["name"], kind, value, match.start("value"), match.end("value"), domain)
    for pragma in _PRAGMA.finditer(text):
        if code[pragma.start()] in "#_":
            yield from _clauses(pragma.group(), pragma.start())


def _clauses(pragma: str, offset: int) -> Iterator[Site]:
    for name, pattern in _CLAUSES:
        match = pattern.search(pragma)
        if match is None:
            continue
        spelled = match["value"]
        value: KnobValue = spelled if name == "schedule" else int(spelled)
        domain: tuple[KnobValue, ...] = _SCHEDULES if isinstance(value, str) else sizes_around(int(value))
        yield Site(name, "pragma", value, offset + match.start("value"), offset + match.end("value"), domain)


def flag_site(flag: str) -> Site | None:
    """Return the site of a compiler flag, which spans its whole text, or None if the flag is not tunable."""
    if flag in _LEVELS:
        return Site("-O", "flag", flag, 0, len(flag), _LEVELS)
    if flag.startswith(_WIDTH):
        domain = (f"{_WIDTH}128", f"{_WIDTH}256", f"{_WIDTH}512")
        return Site(_WIDTH.rstrip("="), "flag", flag, 0, len(flag), domain) if flag in domain else None
    match = _SWITCHED.fullmatch(flag)
    if match is None:
        return None
    return Site(f"-f{match['name']}", "flag", flag, 0, len(flag), (f"-f{match['name']}", f"-fno-{match['name']}"))
