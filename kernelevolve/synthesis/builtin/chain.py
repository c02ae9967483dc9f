"""The stages of the built-in operator: the sources of kernels, the most promising first, and which of them work for a task."""

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
"""The number of kernels that fail for the same reason after which a stage without a correct kernel is given up."""
_ANY = 12
"""The number of kernels that fail for any reason after which a stage without a correct kernel is given up."""
_MOVES = frozenset({"draft", "mutate", "crossover"})


class Stage(StrEnum):
    """A source of kernels, the most promising first. The value is part of the name of its drafts, as in `builtin/inductor`."""

    TRACED = "traced"
    """C++ that is written from the traced form."""
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
    """What is known of each stage. It follows from `absent` and from the nodes in the order of `tell`."""

    absent: dict[Stage, str] = field(default_factory=dict)
    """The reasons why stages have no kernel, by stage."""
    _stages: dict[str, Stage] = field(default_factory=dict)
    """The stage of each node, by the node's id."""
    _right: set[Stage] = field(default_factory=set)
    """The stages with a correct kernel."""
    _failures: dict[Stage, dict[str, str]] = field(default_factory=dict)
    """The reasons why kernels failed, by stage and the kernel's id."""
    _best: float = 0.0
    """The greatest speedup of a kernel that is no copy of the reference."""

    def tell(self, node: Node) -> None:
        """Learn from a node that was inserted. Nodes of other operators are ignored."""
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
        """Whether no correct kernel is known."""
        return not self._right

    @property
    def any_doubted(self) -> bool:
        """Whether some stage has failed kernels and no correct one."""
        return any(self._doubted(stage) for stage in Stage)

    @property
    def none_faster(self) -> bool:
        """Whether there are correct kernels besides copies of the reference, all of them slower than the reference."""
        return 0.0 < self._best < 1.0

    def works(self, stage: Stage) -> bool:
        """Return whether a stage has a correct kernel."""
        return stage in self._right

    def tried(self, stage: Stage) -> bool:
        """Return whether a kernel of a stage was evaluated."""
        return stage in self._right or stage in self._failures

    def hopeless(self, node: Node) -> bool:
        """Return whether a node failed like all other nodes of its stage, so that changing it does not help."""
        stage = self._stages.get(node.id)
        return stage is not None and node.evaluation.status is not Status.OK and self._doubted(stage)

    def plan(self, rng: Random) -> list[Stage]:
        """Return the stages that the next draft may come from, in the order in which to try them.

        Half of the time, stages without failures come first. A stage with nothing but failures is thus still tried, until it is given up.
        If no kernel is faster than the reference, stages without a correct kernel come first too.
        """
        left = [stage for stage in Stage if stage not in self.absent and not self._given_up(stage)]
        if rng.random() < 0.5:
            left.sort(key=lambda stage: self._doubted(stage) or (self.none_faster and self.works(stage)))
        return left

    def why_not_above(self, stage: Stage) -> str:
        """Return one line that says why the stages before this one have no kernel, or an empty text if they have."""
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
