"""Planning: a traced program is rewritten and divided into fused groups, apart from what is computed only once."""

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
    """The plan of a kernel, which a writer prints."""

    program: Program
    """The rewritten program."""
    ready: frozenset[str]
    """The buffers that follow from parameters alone. They are computed again only when these change."""
    early: tuple[Statement, ...]
    """The statements that compute the buffers in `ready`."""
    groups: tuple[FusedGroup, ...]
    """The fused loop nests, in order."""


def plan_of(program: Program, choices: Choices, *, libraries: bool) -> Plan:
    """Plan a program.

    Args:
        program: The program.
        choices: The knobs, which are picked during planning.
        libraries: Whether PyTorch's libraries may be called.
    """
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
