"""The ways to a kernel, from the one that promises most to the one that is always there, and which of them work for a task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from kernelevolve.core.evaluation import Status
from kernelevolve.core.graph import Node

_SAME = 4
"""Kernels that fail for the same reason, none being right, after which a stage is given up."""
_ANY = 12
"""Kernels that fail for whatever reason, after which it is."""
_MOVES = frozenset({"draft", "mutate", "crossover"})


class Stage(StrEnum):
    """A way to a kernel, the most promising first. The value is the move of its drafts: `builtin/inductor`."""

    TRACED = "traced"
    """C++ of our own from the traced form."""
    INDUCTOR = "inductor"
    """TorchInductor's code."""
    ATEN = "aten"
    """The ATen graph."""
    REFERENCE = "reference"
    """The reference's own operations."""


WORDS: Mapping[Stage, str] = {
    Stage.TRACED: "the traced form",
    Stage.INDUCTOR: "TorchInductor's code",
    Stage.ATEN: "the ATen graph",
    Stage.REFERENCE: "a copy of the reference",
}


@dataclass
class Chain:
    """What is known of each stage. All of it follows from what is absent and the nodes told, in order."""

    absent: dict[Stage, str] = field(default_factory=dict)
    """Why there is no kernel of a stage."""
    _stages: dict[str, Stage] = field(default_factory=dict)
    """By node."""
    _right: set[Stage] = field(default_factory=set)
    _failures: dict[Stage, dict[str, str]] = field(default_factory=dict)
    """Of each stage, why a kernel failed, by its id."""
    _best: float = 0.0
    """The greatest speedup of a kernel that is no copy of the reference."""

    def tell(self, node: Node) -> None:
        """A node was inserted, of whatever operator."""
        stage = self._stage_of(node)
        if stage is None:
            return
        self._stages[node.id] = stage
        if node.evaluation.status is Status.OK:
            self._right.add(stage)
            if stage is not Stage.REFERENCE:
                self._best = max(self._best, node.evaluation.fitness)
        elif node.evaluation.diagnosis is not None:
            reason = f"{node.evaluation.status}: {node.evaluation.diagnosis.summary}"
            self._failures.setdefault(stage, {})[node.kernel_id] = reason

    @property
    def nothing_right(self) -> bool:
        """Whether no kernel of any stage is known to be right."""
        return not self._right

    @property
    def any_doubted(self) -> bool:
        """Whether kernels of some stage have failed, and none of it is right."""
        return any(self._doubted(stage) for stage in Stage)

    @property
    def none_faster(self) -> bool:
        """Whether kernels are right that are no copies of the reference, and none of these is as fast as the reference."""
        return 0.0 < self._best < 1.0

    def works(self, stage: Stage) -> bool:
        """Whether one of its kernels is right."""
        return stage in self._right

    def tried(self, stage: Stage) -> bool:
        """Whether one of its kernels was judged."""
        return stage in self._right or stage in self._failures

    def hopeless(self, node: Node) -> bool:
        """Whether a node failed as all of its stage have: changing it would not help."""
        stage = self._stages.get(node.id)
        return stage is not None and node.evaluation.status is not Status.OK and self._doubted(stage)

    def plan(self, rng: Random) -> list[Stage]:
        """The stages that the next draft may be of, the one to be tried first in front.

        Of a stage that is doubted further kernels are tried now and then, until it is given up; where none is faster than the reference,
        so are stages of which nothing is known to be right.
        """
        left = [stage for stage in Stage if stage not in self.absent and not self._given_up(stage)]
        if rng.random() < 0.5:
            left.sort(key=lambda stage: self._doubted(stage) or (self.none_faster and self.works(stage)))
        return left

    def why_not_above(self, stage: Stage) -> str:
        """Why none of the stages before this one serves, in a line for a person; "" where that is not so."""
        reasons = []
        for other in Stage:
            if other is stage:
                break
            if other in self.absent:
                reasons.append(self.absent[other])
            elif self._doubted(other):
                reasons.append(f"kernels from {WORDS[other]} fail ({next(iter(self._failures[other].values()))})")
        return "; ".join(reasons)

    def _stage_of(self, node: Node) -> Stage | None:
        who, _, move = node.operator.partition("/")
        if who == "builtin" and move in _MOVES:
            return Stage.TRACED
        if who == "builtin" and move in set(Stage):
            return Stage(move)
        return self._stages.get(node.parents[0]) if who == "builtin" and node.parents else None

    def _doubted(self, stage: Stage) -> bool:
        return stage not in self._right and bool(self._failures.get(stage))

    def _given_up(self, stage: Stage) -> bool:
        if not self._doubted(stage):
            return False
        reasons = Counter(re.sub(r"[\d.e+-]+", "#", reason) for reason in self._failures[stage].values())
        return reasons.total() >= _ANY or max(reasons.values()) >= _SAME
