"""Training and evaluation mode: the modules of a reference that depend on it, and the mode that a kernel was written for."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping

from torch import nn

from kernelevolve.synthesis.traced.attributes import attribute_text

_WORD = ".training"
_PLAIN = ("Module", "Sequential", "ModuleList", "ModuleDict")


def watched_modes(model: nn.Module) -> dict[str, bool]:
    """Return the mode of each module that may compute something else in the other mode, by dotted name; "" is `model` itself.

    Those are modules whose class reads `.training`. For a class of the task's own file, the whole file is searched.
    """
    seen: dict[type, bool] = {}
    return {name: module.training for name, module in model.named_modules() if _looks(type(module), seen)}


def mode_condition(modes: Mapping[str, bool]) -> str:
    """Return a Python expression of `self` that is true in these modes, or an empty text if there are none."""
    return " and ".join(f"{'' if mode else 'not '}{attribute_text(name)}.training" for name, mode in modes.items())


def _looks(kind: type, seen: dict[type, bool]) -> bool:
    if kind not in seen:
        seen[kind] = any(_WORD in _text(base) for base in kind.__mro__ if _counts(base))
    return seen[kind]


def _counts(base: type) -> bool:
    return base is not object and not (base.__module__.startswith("torch.nn.modules") and base.__name__ in _PLAIN)


def _text(base: type) -> str:
    """Return the text of a class of torch, or else the whole file, since its functions may receive the module."""
    try:
        if base.__module__.startswith("torch."):
            return inspect.getsource(base)
        return inspect.getsource(sys.modules[base.__module__])
    except (OSError, TypeError, KeyError):
        return _WORD
