"""The table of all rows, and which bars they meet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scripts.bench.breadth.trying import PROTOCOLS, Row, Search, Verdicts

_MAX_REFUSED = 6
_FIRST_SECONDS = 20.0
_NOT_SLOWER, _NOT_SLOWER_SHARE = 0.97, 0.95
_OVER_COMPILE = 1.3
_ORIGINS = (("builtin/draft", "traced"), ("TorchInductor", "TorchInductor"), ("ATen graph", "ATen"))
"""Words in how a kernel came about -> what it was written from."""


def origin(found: Search) -> str:
    """What the first kernel was written from."""
    return next((name for words, name in _ORIGINS if words in found.start), "reference" if found.start else "nothing")


def table(rows: Sequence[Row]) -> str:
    """In Markdown, a line for each problem."""
    lines = [
        "| problem | from | over eager | over torch.compile | kernels | first correct s | copy | why |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        copies = "ok" if _copies_pass(row) else "; ".join(f"{p}: {v}" for p, v in row.copies.items() if v != "ok")
        found = row.search
        if found is None:
            lines.append(f"| {row.problem} | - | - | - | - | - | {_cell(copies)} | {_cell(row.note)} |")
            continue
        ratio = "none correct"
        if found.speedup is not None and found.interval is not None:
            ratio = f"{found.speedup:.2f} ({found.interval[0]:.2f} to {found.interval[1]:.2f})"
        elif found.best:
            ratio = "not measured"
        over = f"{found.over_compile:.2f}" if found.over_compile else "-"
        first = f"{found.first_correct:.1f}" if found.first_correct is not None else "-"
        why = found.refused or found.why or ("" if origin(found) == "traced" else found.start)
        lines.append(
            f"| {row.problem} | {origin(found)} | {ratio} | {over} | {found.kernels} | {first} | {_cell(copies)} | {_cell(why)} |"
        )
    return "\n".join(lines)


def verdict_table(rows: Sequence[Verdicts]) -> str:
    """In Markdown, a line for each problem."""
    lines = [
        "| problem | first right draft | copy | preparing s | first s | drafts before |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        copies = "; ".join(f"{protocol}: {verdict}" for protocol, verdict in row.copies.items() if verdict != "ok")
        cells = (
            row.problem,
            row.refused or row.broke or row.first or "none",
            copies or "ok",
            f"{row.prepare_seconds:.1f}",
            f"{row.first_seconds:.1f}",
            "; ".join(row.complaints),
        )
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def verdict_bars(rows: Sequence[Verdicts]) -> tuple[list[str], bool]:
    """(a line for each bar, whether all are met)."""
    refused = sum(bool(row.refused) for row in rows)
    lost = sum(not row.first and not row.refused for row in rows)
    late = sum(row.prepare_seconds + row.first_seconds > _FIRST_SECONDS for row in rows)
    lines = [
        (f"without a right draft and not refused: {lost} of {len(rows)} (bar 0)", not lost),
        (f"refused: {refused} (bar {_MAX_REFUSED})", refused <= _MAX_REFUSED),
        (f"first right draft after {_FIRST_SECONDS:g} s or more, beside others: {late}", True),
        (f"traced: {sum('builtin/draft' in row.first for row in rows)} of {len(rows)}", True),
        *_copy_bars([row.copies for row in rows if row.copies]),
    ]
    return _told(lines)


def _copy_bars(copies: Sequence[dict[str, str]]) -> Iterator[tuple[str, bool]]:
    for protocol in PROTOCOLS:
        told = [verdicts[protocol] for verdicts in copies if protocol in verdicts]
        if told:
            right = sum(verdict == "ok" for verdict in told)
            yield f"copies of the reference ok, {protocol}: {right} of {len(told)}", right == len(told)


def _told(lines: Sequence[tuple[str, bool]]) -> tuple[list[str], bool]:
    return [f"{text}{'' if met else ': MISSED'}" for text, met in lines], all(met for _, met in lines)


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:200]


def _copies_pass(row: Row) -> bool:
    return all(verdict == "ok" for verdict in row.copies.values())


def bars(rows: Sequence[Row]) -> tuple[list[str], bool]:
    """(a line for each bar, whether all are met)."""
    searches = [row.search for row in rows if row.search is not None]
    lines: list[tuple[str, bool]] = []
    if searches:
        right = [s for s in searches if s.best]
        refused = [s for s in searches if s.refused]
        lost = len(searches) - len(right) - len(refused)
        lines.append((f"without a correct kernel and not refused: {lost} of {len(searches)} (bar 0)", not lost))
        lines.append((f"refused: {len(refused)} (bar {_MAX_REFUSED})", len(refused) <= _MAX_REFUSED))
        firsts = [s.first_correct for s in right if s.first_correct is not None]
        late = sum(seconds > _FIRST_SECONDS for seconds in firsts)
        lines.append((f"first correct kernel after {_FIRST_SECONDS:g} s or more: {late} (bar 0)", not late))
        ratios = [s.speedup for s in right if s.speedup is not None]
        traced = [s for s in right if origin(s) == "traced"]
        compiled = [s.over_compile for s in traced if s.over_compile]
        lines.append((f"traced: {len(traced)} of {len(searches)}", True))
        if ratios:
            kept = sum(ratio >= _NOT_SLOWER for ratio in ratios) / len(ratios)
            text = f"at least {_NOT_SLOWER}x eager: {kept:.0%} of {len(ratios)} (bar {_NOT_SLOWER_SHARE:.0%})"
            lines.append((text, kept >= _NOT_SLOWER_SHARE))
            lines.append((f"geometric mean over eager: {_mean(ratios):.2f}x", True))
        if compiled:
            mean = _mean(compiled)
            lines.append(
                (f"over torch.compile, traced: {mean:.2f}x of {len(compiled)} (bar 1.3x)", mean >= _OVER_COMPILE)
            )
    lines += _copy_bars([row.copies for row in rows if row.copies])
    return _told(lines)


def _mean(values: Sequence[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values)) / len(values))
