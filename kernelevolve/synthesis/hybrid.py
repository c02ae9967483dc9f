"""An operator that divides the expansions between a language model and the built-in one, by what each has gained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar

from kernelevolve.core.component import Component
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Draft, Expansion, Node
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.core.usage import Usage
from kernelevolve.llm.choosing import Chooser
from kernelevolve.llm.settings import ModelChoice
from kernelevolve.synthesis.base import Context, ExhaustedError, Operator

_MODEL, _BUILTIN = "llm", "builtin"
_ONE = Usage(tokens=1)
"""The cost of a node. It is the same for both operators, because they compete for evaluations."""


@dataclass
class HybridOperator(Operator):
    """An operator that delegates each expansion to a language model or to the built-in operator.

    Either may expand a kernel of the other: the built-in operator finds the knobs in a source that the model wrote, and the
    model is shown kernels that the built-in operator drafted.
    """

    needs_models: ClassVar[bool] = True

    builtin: Mapping[str, Any]
    """The settings of the built-in operator, with `_target_`."""
    llm: Mapping[str, Any]
    """The settings of the operator that asks models, with `_target_`."""
    share: float
    """The initial weight of the model in the choice between the two, between 0 and 1."""
    least_share: float
    """The least share of the expansions that each of the two gets, at most 0.5."""
    _operators: dict[str, Operator] = field(default_factory=dict, init=False, repr=False)
    _chooser: Chooser = field(init=False, repr=False)
    _fitness: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"operator.share={self.share:g}: must lie between 0 and 1")
        if not 0 <= self.least_share <= 0.5:
            raise UserError(f"operator.least_share={self.least_share:g}: must lie between 0 and 0.5")
        self._chooser = Chooser(ModelChoice.BANDIT, {_MODEL: self.share, _BUILTIN: 1 - self.share})
        for name, settings in ((_MODEL, self.llm), (_BUILTIN, self.builtin)):
            built = Component.model_validate(settings).build(f"operator.{name}")
            if not isinstance(built, Operator):
                raise UserError(f"operator.{name}: {type(built).__name__} is not an Operator")
            self._operators[name] = built

    def prepare(self, task: Task) -> HybridOperator:
        prepared = replace(self)
        for name, operator in self._operators.items():
            prepared._operators[name] = operator.prepare(task)
        return prepared

    def provisional(self, task: Task) -> HybridOperator | None:
        early = replace(self)
        for name, operator in self._operators.items():
            ready = operator if type(operator).prepare is Operator.prepare else operator.provisional(task)
            if ready is None:
                return None
            early._operators[name] = ready
        return early

    def for_target(self, target: Target) -> HybridOperator:
        for_target = replace(self)
        for name, operator in self._operators.items():
            for_target._operators[name] = operator.for_target(target)
        return for_target

    def tell(self, node: Node) -> None:
        """Update the choice by the gain of the node, and pass it to both operators."""
        promise = max((self._fitness.get(parent, 0.0) for parent in node.parents), default=0.0)
        self._fitness[node.id] = node.fitness
        self._chooser.tell(node.operator.partition("/")[0], node.fitness, promise, _ONE)
        for operator in self._operators.values():
            operator.tell(node)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        """Let the chosen operator propose, and the other one if that operator has no new kernel."""
        rng = Random(derive_seed(expansion.seed, "who"))
        name = self._chooser.choose(rng)
        if rng.random() < 2 * self.least_share:
            name = rng.choice([_MODEL, _BUILTIN])
        try:
            return await self._operators[name].propose(expansion, context)
        except ExhaustedError:
            other = _BUILTIN if name == _MODEL else _MODEL
            return await self._operators[other].propose(expansion, context)
