"""From a traced program to a plan: rewritten, divided into fused groups, with what is computed once set apart."""

from __future__ import annotations

from dataclasses import dataclass

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.arrange import arranged
from kernelevolve.synthesis.builtin.plan.inlining import inline
from kernelevolve.synthesis.builtin.plan.library import with_libraries
from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup, group
from kernelevolve.synthesis.builtin.plan.transform import (
    collapse_reductions,
    prepared,
    reassociate,
    relayout,
    retarget,
)
from kernelevolve.synthesis.traced.program import Program, Statement


@dataclass(frozen=True)
class Plan:
    """What a writer prints."""

    program: Program
    """The rewritten program."""
    ready: frozenset[str]
    """Buffers that follow from parameters alone, and are computed again only when these change."""
    early: tuple[Statement, ...]
    """The statements that compute them."""
    groups: tuple[FusedGroup, ...]
    """Fused loop nests, in order."""


def plan_of(program: Program, choices: Choices, *, libraries: bool) -> Plan:
    """Plan a program by the knobs of `choices`, which are asked for as planning goes. `libraries`: whether PyTorch's own may be called."""
    program = retarget(inline(with_libraries(program, choices, libraries), choices))
    program = reassociate(program, choices)
    program = collapse_reductions(relayout(program))
    ready = prepared(program)
    if ready and not choices.flag("prepare", True):
        ready = set()
    groups = group(program, choices, ready)
    return Plan(
        program,
        frozenset(ready),
        tuple(s for s in program.statements if s.buffer in ready),
        tuple(arranged(g, f"g{i}", program, choices) for i, g in enumerate(groups)),
    )
