"""Doubles of the operator and the evaluator: instant or failing on demand, with marks of what was evaluated."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.graph import Draft, Expansion
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.usage import Usage
from kernelevolve.synthesis.base import Context, ExhaustedError, Operator
from tests.conformance.records import make_evaluation


@dataclass
class DoubleOperator(Operator):
    """Proposes one of `kernels` texts, drawn by the expansion's seed."""

    kernels: int = 10**9
    failures: int = 0
    """Proposals that raise, at first."""
    ends: bool = False
    """Whether it proposes new kernels alone, and says so when there is none."""
    usage: Usage = field(default_factory=Usage)
    extra_evaluations: int = 0
    """Of each proposal."""
    asked: int = field(default=0, init=False)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        self.asked += 1
        if self.asked <= self.failures:
            raise OSError("the double operator is out of order")
        assert tuple(parent.node.id for parent in context.parents) == expansion.parents
        assert all(parent.kernel.id == parent.node.kernel_id for parent in context.parents + context.history)
        number = Random(expansion.seed).randrange(self.kernels)
        move = ("draft", "mutate", "crossover")[len(context.parents)]
        kernel = _kernel(number)
        if self.ends:
            new = [k for k in map(_kernel, range(self.kernels)) if k.id not in context.known_kernels]
            if not new:
                raise ExhaustedError(f"all {self.kernels} kernels were judged")
            kernel = new[number % len(new)]
        return Draft(
            kernel=kernel, operator=f"double/{move}", usage=self.usage, extra_evaluations=self.extra_evaluations
        )


def _kernel(number: int) -> Kernel:
    return Kernel(source=f"# {number}\n", language="python")


@dataclass
class DoubleEvaluator:
    """Takes `seconds`; a verdict that follows from the kernel's id. Adds a line to `<marks>/<pid>` per evaluation."""

    marks: Path
    seconds: float = 0.0
    failures: int = 0

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        with (self.marks / str(os.getpid())).open("a") as file:
            file.write(f"{kernel.id}\n")
        if self.failures:
            self.failures -= 1
            raise OSError("the double evaluator is out of order")
        await asyncio.sleep(self.seconds)
        rng = Random(kernel.id)
        return make_evaluation(kernel, 0.0 if rng.random() < 0.3 else rng.lognormvariate(0.0, 0.5))


class Refusing:
    """An actor that cannot judge, for a reason that a person can mend."""

    def __init__(self) -> None:
        self._asked = 0

    def evaluate(self) -> None:
        self._asked += 1
        raise UserError("the judge has no room")

    def asked(self) -> int:
        return self._asked


@dataclass
class RefusingEvaluator:
    """Asks it."""

    actor: Any

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        await self.actor.evaluate.remote()
        return make_evaluation(kernel, 1.0)


def evaluated(marks: Path) -> list[str]:
    """Ids of the kernels whose evaluation began, once per beginning."""
    return [line for file in marks.iterdir() for line in file.read_text().split()]
