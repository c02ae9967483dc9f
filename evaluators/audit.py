"""How much of a call is PyTorch's own work, operator by operator."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.aten import computes

_MOST_NAMED = 5


class _Stopwatch(TorchDispatchMode):  # type: ignore[misc]
    """Sums up the seconds in operators of ATen that read or write elements; views and allocation do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._counted: dict[Any, bool] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in self._counted:
            self._counted[func] = func.namespace == "aten" and computes(func.name())
        begin = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        if self._counted[func]:
            self.seconds[func.name()] += time.perf_counter() - begin
        return result


def audit(call: Callable[[], Any]) -> dict[str, Any]:
    """The fields of `AtenShare`, from one call after one that warms up.

    Sees what this thread dispatches. Operators are timed one by one, so the share of calls of some microseconds is rough.
    """
    with _Stopwatch():
        call()
    stopwatch = _Stopwatch()
    begin = time.perf_counter()
    with stopwatch:
        call()
    whole = time.perf_counter() - begin
    most = sorted(stopwatch.seconds.items(), key=lambda item: -item[1])[:_MOST_NAMED]
    return {
        "share": min(1.0, sum(stopwatch.seconds.values()) / whole),
        "operators": {name: min(1.0, seconds / whole) for name, seconds in most},
    }
