"""Measuring the rates that a GPU reaches: PyTorch's own copy and products, in a process of its own.

`measured` starts the process and never touches the device itself. The process is this module run as a program. Both vendors' builds of
torch call the device `cuda`.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kernelevolve.core.child_process import kill_group, module_command, python_path
from kernelevolve.core.errors import InfrastructureError
from kernelevolve.core.target import Ceilings, Peak, Quantity, Source

SECONDS = 5.0
"""The seconds in which the device is busy with measuring, at most."""
START_SECONDS = 180.0
"""The seconds that importing torch and creating a context may take."""
_READY = "ready"
_STEP_SECONDS = 0.5
"""The seconds of timed calls for each rate, at most."""
_COPY_BYTES = 1 << 30
"""The bytes that are copied, unless the device has little memory."""
_SIZE = 8192
"""The size of the square matrices of products in 8 and 16 bits and in TF32."""
_SMALL_SIZE = 4096
"""The size of the matrices of products in float32 and float64."""


def measured(
    model: str, environment: Mapping[str, str], alone: AbstractContextManager[object] | None = None
) -> Ceilings:
    """Measure the rates that a GPU reaches.

    Args:
        model: The name of the device.
        environment: The environment variables with which a process sees the device alone.
        alone: A context in which nothing else uses the device. It is entered when everything is ready to measure.

    Raises:
        InfrastructureError: The measurement failed. The message is one line.
    """
    process = subprocess.Popen(
        module_command("devices.ceilings", model),
        env={**os.environ, **environment, "PYTHONPATH": python_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], START_SECONDS)[0]:
            raise InfrastructureError(
                f"the ceilings of {model} were not measured: not ready after {START_SECONDS:.0f} s"
            )
        if process.stdout.readline().strip() != _READY:
            raise InfrastructureError(f"the ceilings of {model} were not measured: {_last_line(process)}")
        with alone or nullcontext():
            try:
                out, _ = process.communicate("\n", timeout=4 * SECONDS)
            except subprocess.TimeoutExpired as error:
                raise InfrastructureError(
                    f"the ceilings of {model} were not measured within {4 * SECONDS:.0f} s"
                ) from error
    finally:
        if process.poll() is None:
            kill_group(process.pid)
        process.wait()
    if process.returncode:
        raise InfrastructureError(f"the ceilings of {model} were not measured: exit code {process.returncode}")
    return Ceilings.model_validate_json(out)


def _last_line(process: subprocess.Popen[str]) -> str:
    """Return the last line that a process which ends by itself wrote to stderr."""
    _, err = process.communicate(timeout=START_SECONDS)
    return (err.strip().splitlines() or ["it ended without a word"])[-1]


def _main(model: str) -> None:
    import torch

    torch.zeros(1, device="cuda")
    print(_READY, flush=True)
    if not sys.stdin.readline():
        return  # The process that asked has ended.
    json.dump(_measure(torch, model).model_dump(mode="json"), sys.stdout)


def _measure(torch: Any, model: str) -> Ceilings:
    begin = time.monotonic()
    peaks: dict[Peak, Quantity] = {}
    failed: dict[Peak, str] = {}
    steps = list(_steps(torch))
    for place, (name, prepare) in enumerate(steps):
        left = SECONDS - (time.monotonic() - begin)
        try:
            work, call = prepare()
            seconds = _seconds(torch, call, min(_STEP_SECONDS, left / (len(steps) - place)))
            peaks[name] = Quantity(value=work / seconds, source=Source.MEASURED)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:  # This build or device has no such product.
            failed[name] = " ".join(str(error).split())[:200]
        torch.cuda.empty_cache()
    return Ceilings(
        model=model, peaks=peaks, failed=failed, seconds=time.monotonic() - begin, torch=str(torch.__version__)
    )


def _seconds(torch: Any, call: Callable[[], object], limit: float) -> float:
    """Return the median seconds of a call on the device, from calls that take `limit` seconds together, or from a single longer one."""
    call()
    torch.cuda.synchronize()
    deadline = time.monotonic() + limit
    taken: list[float] = []
    while not taken or time.monotonic() < deadline:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1e3)
    return statistics.median(taken)


def _steps(torch: Any) -> Iterator[tuple[Peak, Callable[[], tuple[float, Callable[[], object]]]]]:
    """Yield each rate with a function that allocates its operands and returns the work of a call, in bytes or operations, and the call."""

    def copy() -> tuple[float, Callable[[], object]]:
        size = min(_COPY_BYTES, torch.cuda.mem_get_info()[0] // 4)
        source = torch.ones(size // 4, device="cuda")
        target = torch.empty_like(source)
        return 2.0 * source.nbytes, lambda: target.copy_(source)

    def product(dtype: Any, size: int, *, tf32: bool = False) -> Callable[[], tuple[float, Callable[[], object]]]:
        def prepare() -> tuple[float, Callable[[], object]]:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            # Zeros would take less power, and with it give a higher clock than kernels see.
            left, right = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
            out = torch.empty(size, size, device="cuda", dtype=dtype)
            return 2.0 * size**3, lambda: torch.mm(left, right, out=out)

        return prepare

    def product_8_bits() -> tuple[float, Callable[[], object]]:
        left, right = (torch.randn(_SIZE, _SIZE, device="cuda") for _ in range(2))
        one = torch.ones((), device="cuda")
        # Its layout is that of the units: the first operand by rows, the second one by columns.
        rows, columns = left.to(torch.float8_e4m3fn), right.to(torch.float8_e4m3fn).t()
        return 2.0 * _SIZE**3, lambda: torch._scaled_mm(rows, columns, one, one, out_dtype=torch.bfloat16)

    def product_integers() -> tuple[float, Callable[[], object]]:
        left, right = (torch.randint(-128, 127, (_SIZE, _SIZE), device="cuda", dtype=torch.int8) for _ in range(2))
        columns = right.t()
        return 2.0 * _SIZE**3, lambda: torch._int_mm(left, columns)

    yield Peak.MEMORY, copy
    yield Peak.BFLOAT16, product(torch.bfloat16, _SIZE)
    yield Peak.FLOAT16, product(torch.float16, _SIZE)
    yield Peak.TF32, product(torch.float32, _SIZE, tf32=True)
    yield Peak.FLOAT32, product(torch.float32, _SMALL_SIZE)
    yield Peak.FLOAT64, product(torch.float64, _SMALL_SIZE)
    yield Peak.FLOAT8, product_8_bits
    yield Peak.INT8, product_integers


if __name__ == "__main__":
    _main(sys.argv[1])
