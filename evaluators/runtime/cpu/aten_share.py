"""The share of a call that PyTorch's own operators take, operator by operator."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.sandbox.aten import computes

_MOST_NAMED = 5
"""The most operators that are reported."""
_CALLS = 3
"""The number of calls of each kind, of which the best counts."""


class _Stopwatch(TorchDispatchMode):  # type: ignore[misc]
    """Sums up the seconds in ATen operators that read or write elements. Views and allocations do not count."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        super().__init__()
        self._synchronize = synchronize
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._counted: dict[Any, bool] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Without this the first use imports torch._dynamo, which takes more than a second in each process.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in self._counted:
            self._counted[func] = func.namespace == "aten" and computes(func.name())
        begin = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        if self._counted[func]:
            self._synchronize()
            self.seconds[func.name()] += time.perf_counter() - begin
        return result


def aten_share(call: Callable[[], Any], synchronize: Callable[[], None]) -> dict[str, Any]:
    """Measure the share of a call that ATen operators take.

    The share is the seconds in operators of a call that is observed, over the seconds of one that is not, each the best of several. Only
    operators that this thread dispatches are seen. Observing costs microseconds per operator, so the share of short calls is rough.

    Args:
        call: The call to measure. It is made several times.
        synchronize: A function that waits for the device.

    Returns:
        The fields of `AtenShare`.
    """
    watched = []
    whole = math.inf
    for _ in range(_CALLS):
        with _Stopwatch(synchronize) as stopwatch:
            call()
        synchronize()
        watched.append(dict(stopwatch.seconds))
        begin = time.perf_counter()
        call()
        synchronize()
        whole = min(whole, time.perf_counter() - begin)
    best = min(watched, key=lambda seconds: sum(seconds.values()))
    whole = max(whole, sum(best.values()))
    most = sorted(best.items(), key=lambda item: -item[1])[:_MOST_NAMED]
    return {"share": sum(best.values()) / whole, "operators": {name: seconds / whole for name, seconds in most}}
