"""Tables made up for tests: what a kernel's speed is follows from its knobs by a rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import KnobValue
from kernelevolve.experiments.tabular.table import Table, code_of
from kernelevolve.synthesis.builtin.knobs import Knob

KNOBS = (
    Knob("rows", (1, 2, 4, 8, 16, 32), ordered=True),
    Knob("lanes", (4, 8, 16, 32, 64), ordered=True),
    Knob("fused", (False, True)),
    Knob("math", ("exact", "polynomial", "table")),
)


def hill(point: Mapping[str, KnobValue]) -> float:
    """The best is rows 8, lanes 32, fused, polynomial."""
    away = abs(math.log2(float(point["rows"])) - 3) + abs(math.log2(float(point["lanes"])) - 5)
    return (
        4.0
        * 0.8**away
        * (1.0 if point["fused"] else 0.6)
        * {"exact": 0.8, "polynomial": 1.0, "table": 0.7}[str(point["math"])]
    )


def make_table(
    speedup: Callable[[Mapping[str, KnobValue]], float] = hill,
    knobs: Sequence[Knob] = KNOBS,
    deviation: float = 0.0,
    absent: Callable[[Mapping[str, KnobValue]], Sequence[str]] = lambda _: (),
) -> Table:
    """`speedup`: of a point, 0 where its kernel is wrong. `absent`: the knobs that the kernel at a point does not have."""
    shape = tuple(len(knob.domain) for knob in knobs)
    row_of = np.zeros(shape, dtype=np.int32)
    rows: dict[tuple[int, ...], int] = {}
    speedups = []
    for at in itertools.product(*map(range, shape)):
        point = {knob.name: knob.domain[place] for knob, place in zip(knobs, at, strict=True)}
        gone = absent(point)
        places = tuple(-1 if knob.name in gone else place for knob, place in zip(knobs, at, strict=True))
        if places not in rows:
            rows[places] = len(rows)
            speedups.append(speedup(point))
        row_of[at] = rows[places]
    found = np.array(speedups, dtype=np.float32)
    return Table(
        task="made-up",
        device="cpu",
        about={"by": "a test"},
        knobs=tuple(knobs),
        default=(0,) * len(knobs),
        row_of=row_of,
        place=np.array(list(rows), dtype=np.int16),
        status=np.where(found > 0, code_of(Status.OK), code_of(Status.WRONG_RESULT)).astype(np.uint8),
        speedup=found,
        deviation=np.full(len(found), deviation, dtype=np.float32),
        seconds=np.full(len(found), 0.5, dtype=np.float32),
        traits={"passes": np.where(np.arange(len(found)) % 2, 1.0, 2.0).astype(np.float32)},
    )
