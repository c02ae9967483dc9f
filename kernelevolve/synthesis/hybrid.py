"""A model for structure, the built-in operator for knobs: who carries an expansion out follows from what has paid."""

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
from kernelevolve.llm.settings import Choice
from kernelevolve.synthesis.base import Context, ExhaustedError, Operator

_MODEL, _BUILTIN = "llm", "builtin"
_ONE = Usage(tokens=1)
"""Each node costs an evaluation, which is what the two compete for."""


@dataclass
class HybridOperator(Operator):
    """Two operators in one. Either may expand what the other made: the built-in one finds the knobs in a model's source, and the model is
    shown what the built-in one drafted.
    """

    needs_models: ClassVar[bool] = True

    builtin: Mapping[str, Any]
    """The settings of the built-in operator, with `_target_`, and"""
    llm: Mapping[str, Any]
    """of the one that asks models."""
    share: float
    """Of the expansions, that the model is expected to deserve: how it begins."""
    least_share: float
    """That either gets in any case."""
    _operators: dict[str, Operator] = field(default_factory=dict, init=False, repr=False)
    _chooser: Chooser = field(init=False, repr=False)
    _fitness: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"operator.share={self.share:g}: must lie between 0 and 1")
        if not 0 <= self.least_share <= 0.5:
            raise UserError(f"operator.least_share={self.least_share:g}: must lie between 0 and 0.5")
        self._chooser = Chooser(Choice.BANDIT, {_MODEL: self.share, _BUILTIN: 1 - self.share})
        for name, settings in ((_MODEL, self.llm), (_BUILTIN, self.builtin)):
            built = Component.model_validate(settings).build(f"operator.{name}")
            if not isinstance(built, Operator):
                raise UserError(f"operator.{name}: {type(built).__name__} is no operator")
            self._operators[name] = built

    def prepare(self, task: Task) -> HybridOperator:
        prepared = replace(self)
        for name, one in self._operators.items():
            prepared._operators[name] = one.prepare(task)
        return prepared

    def early(self, task: Task) -> HybridOperator | None:
        early = replace(self)
        for name, one in self._operators.items():
            ready = one if type(one).prepare is Operator.prepare else one.early(task)
            if ready is None:
                return None
            early._operators[name] = ready
        return early

    def aimed(self, target: Target) -> HybridOperator:
        found = replace(self)
        for name, one in self._operators.items():
            found._operators[name] = one.aimed(target)
        return found

    def tell(self, node: Node) -> None:
        promise = max((self._fitness.get(parent, 0.0) for parent in node.parents), default=0.0)
        self._fitness[node.id] = node.fitness
        self._chooser.tell(node.operator.partition("/")[0], node.fitness, promise, _ONE)
        for one in self._operators.values():
            one.tell(node)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        rng = Random(derive_seed(expansion.seed, "who"))
        name = self._chooser.choose(rng)
        if rng.random() < 2 * self.least_share:
            name = rng.choice([_MODEL, _BUILTIN])
        try:
            return await self._operators[name].propose(expansion, context)
        except ExhaustedError:
            return await self._operators[_MODEL].propose(expansion, context)
