"""The moves of the built-in operator on a table: it returns rows instead of writing kernels."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence

from pydantic import Field

from kernelevolve.core.graph import Expansion, Phase
from kernelevolve.core.record import Record
from kernelevolve.experiments.tabular.table import Table
from kernelevolve.synthesis.builtin import moves


class MoveSettings(Record):
    """The settings of the built-in operator."""

    attempts: int = Field(ge=1)
    """The maximum number of moves tried until the row is new."""
    draft_moves: int = Field(ge=0)
    """The number of knobs that a draft changes at most."""
    mutation_moves: int = Field(ge=0)
    """The number of knobs that a mutation changes at most."""
    crossover_mutation: float = Field(ge=0, le=1)
    """The probability that a crossover is mutated."""


class TableOperator:
    """Proposes rows of a table."""

    def __init__(self, table: Table, settings: MoveSettings) -> None:
        self._table = table
        self._settings = settings
        self._default = table.default_point
        self._around = table.space(table.row(self._default))

    def propose(self, expansion: Expansion, parents: Sequence[int], known: Container[int]) -> tuple[int, str]:
        """Propose a row.

        Args:
            expansion: The expansion. All random choices follow from its seed.
            parents: The rows of the parents.
            known: The rows that are avoided if possible.

        Returns:
            The row, and the name of the move.
        """
        rng = random.Random(expansion.seed)
        row, move = self._propose(expansion, parents, known, rng)
        for _ in range(self._settings.attempts - 1):
            if row not in known:
                break
            row, move = self._propose(expansion, parents, known, rng)
        return row, move

    def _propose(
        self, expansion: Expansion, parents: Sequence[int], known: Container[int], rng: random.Random
    ) -> tuple[int, str]:
        table, settings = self._table, self._settings
        if expansion.phase is Phase.DRAFT:
            default_row = table.row(self._default)
            if expansion.step == 0 and default_row not in known:
                return default_row, "draft"
            move = moves.drafted(self._default, self._around, settings.draft_moves, rng)
            return table.row(move.point), "draft"
        point, space = table.point(parents[0]), table.space(parents[0])
        if len(parents) > 1:
            other = table.point(parents[1])
            return table.row(moves.crossed(point, other, space, settings.crossover_mutation, rng).point), "crossover"
        return table.row(moves.mutated(point, space, settings.mutation_moves, rng).point), "mutate"
