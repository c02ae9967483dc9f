"""Export of a PyTorch module by torch.export, with as many dynamic dimensions as possible."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim, ExportedProgram, export

from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.decompositions import decompositions
from kernelevolve.synthesis.traced.flattened import Flattened
from kernelevolve.synthesis.traced.signature import Arguments, Returned


@dataclass(frozen=True)
class Exported:
    """The graph of a model, from the leaves of its arguments to tensors."""

    program: ExportedProgram
    model: torch.nn.Module
    inputs: list[Any]
    """The leaves of the arguments that it was exported with."""
    arguments: Arguments
    returned: Returned
    """The result of `forward`, built from the results of the graph."""


def export_program(
    model: torch.nn.Module,
    inputs: Sequence[Any],
    *,
    table: Mapping[Any, Callable[..., Any]] | None = None,
    fixed: bool = False,
) -> Exported:
    """Export a model with as many dynamic dimensions as possible.

    First all dimensions are dynamic that the model leaves free, then the first one of each input only, then none.
    Afterwards `model.forward` takes the leaves of its arguments.

    Args:
        model: The model, which is changed.
        inputs: The arguments of `forward`.
        table: The decompositions of ATen operations; None uses those of the traced form.
        fixed: Whether no dimension is dynamic.

    Raises:
        UnsupportedError: torch.export cannot capture the model.
    """
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    flat = Flattened(model, inputs)
    ranks = [x.dim() if isinstance(x, torch.Tensor) else 0 for x in flat.leaves]
    failures: list[str] = []
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for most in (0,) if fixed else (max(ranks, default=0), 1, 0):
            free: tuple[Any, ...] = tuple(dict.fromkeys(range(min(r, most)), Dim.AUTO) or None for r in ranks)
            for x in flat.leaves:
                _unmark(x)
            try:
                exported = export(flat.model, tuple(flat.leaves), dynamic_shapes=(free,) if most else None)
                program = exported.run_decompositions(decompositions() if table is None else dict(table))
                return Exported(program, model, flat.leaves, flat.arguments, flat.returned)
            except UnsupportedError:
                raise
            except Exception as error:  # noqa: BLE001 - torch.export raises whatever the model and its passes raise
                failures.append(_summary(error))
            finally:
                for x in inputs:
                    _unmark(x)
    raise UnsupportedError(f"torch.export: {failures[-1]}")


def _unmark(value: Any) -> None:
    """Remove the attributes that torch.export sets on a tensor, which would restrict the next export."""
    if isinstance(value, torch.Tensor):
        for name in [n for n in vars(value) if n.startswith("_dynamo_")]:
            delattr(value, name)


def _summary(error: Exception) -> str:
    """Return an error of torch.export in one line."""
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    changed = re.search(r"[Cc]onstant (\S+) is mutated", line)
    if changed:
        name = changed.group(1)
        return f"forward changes {name}, which is neither a parameter nor a buffer: self.register_buffer makes it one"
    return line
