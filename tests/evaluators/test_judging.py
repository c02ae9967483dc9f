"""The pieces of a verdict: comparing, timing, intervals, the gate."""

from __future__ import annotations

import os
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators import tensors
from evaluators.correctness import compare
from evaluators.folders import private_folder
from evaluators.gate import Gate, gate_folder
from evaluators.settings import TimingSettings
from evaluators.statistics import ratio_interval
from evaluators.timing import time_many, time_pair
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Tolerance

SETTINGS = TimingSettings(
    warmup_calls=1, block_seconds=0.001, min_rounds=6, max_rounds=60, target_interval=0.02, max_seconds=10.0
)


class Watch:
    """A clock that only moves when a call says so."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def call(self, seconds: Callable[[], float]) -> Callable[[], None]:
        def advance() -> None:
            self.now += int(seconds() * 1e9)

        return advance


def result(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, x.double()


def test_rounding_passes_and_a_lower_precision_does_not() -> None:
    exact = torch.randn(3000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    native = exact.float()
    assert compare(native * (1 + 1e-6), native, exact, Tolerance(), "y") is None
    assert compare(native.bfloat16().float(), native, exact, Tolerance(), "y") is not None
    assert compare(native.half().float(), native, exact, Tolerance(), "y") is not None


def test_zeros_do_not_pass_where_values_are_small() -> None:
    native, oracle = result(torch.full((100,), 1e-6))
    found = compare(torch.zeros(100), native, oracle, Tolerance(), "y")
    assert found is not None
    assert found.status is Status.WRONG_RESULT


def test_nan_and_infinity_keep_their_places() -> None:
    native = torch.tensor([1.0, float("nan"), float("inf"), -float("inf")])
    assert compare(native.clone(), native, native.double(), Tolerance(), "y") is None
    for i in range(4):
        other = native.clone()
        other[i] = 5.0
        assert compare(other, native, native.double(), Tolerance(), "y") is not None


def test_every_chunk_is_compared() -> None:
    native = torch.ones((1 << 21) + 7)
    for place in (0, 1 << 20, (1 << 21) + 6):
        other = native.clone()
        other[place] = 2.0
        found = compare(other, native, native.double(), Tolerance(), "y")
        assert found is not None
        assert f"[{place}]" in found.summary


@given(st.integers(0, 2**31), st.integers(1, 500))
def test_integers_are_exact(seed: int, count: int) -> None:
    native = torch.randint(-(2**40), 2**40, (count,), generator=torch.Generator().manual_seed(seed))
    assert compare(native.clone(), native, native, Tolerance(), "y") is None
    assert compare(native + 1, native, native, Tolerance(), "y") is not None


@given(st.sampled_from(sorted(tensors.DTYPES)), st.lists(st.integers(0, 4), max_size=3))
def test_tensors_survive_the_file(dtype: str, shape: list[int]) -> None:
    import tempfile

    value = (torch.randn(shape) * 50).to(tensors.DTYPES[dtype])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        meta = tensors.save(value, path)
        back = tensors.load(meta, path)
        assert back.dtype == value.dtype
        assert torch.equal(back, value)
        meta["shape"] = [*meta["shape"], 3]
        if value.numel():
            with pytest.raises(ValueError, match="announced"):
                tensors.load(meta, path)


def test_the_ratio_is_found_and_measuring_stops_when_it_is_sure() -> None:
    watch, rng = Watch(), random.Random(0)
    samples = time_pair(
        watch.call(lambda: 3e-4 * rng.uniform(0.99, 1.01)),
        watch.call(lambda: 1e-4 * rng.uniform(0.99, 1.01)),
        SETTINGS,
        None,
        watch,
    )
    ratio = ratio_interval(samples.reference, samples.kernel, 0)
    assert ratio.low < 3.0 < ratio.high or abs(ratio.value - 3.0) < 0.02
    assert len(samples.kernel) < SETTINGS.max_rounds


def test_a_slow_kernel_is_dropped_early() -> None:
    watch, rng = Watch(), random.Random(0)
    samples = time_pair(
        watch.call(lambda: 1e-4 * rng.uniform(0.8, 1.2)),
        watch.call(lambda: 4e-4 * rng.uniform(0.8, 1.2)),
        SETTINGS,
        0.7,
        watch,
    )
    assert samples.dropped
    assert len(samples.kernel) <= SETTINGS.min_rounds + 2


def test_a_function_against_itself_has_one_in_its_interval() -> None:
    hits = 0
    for seed in range(100):
        watch, rng = Watch(), random.Random(seed)
        call = watch.call(lambda rng=rng: 1e-4 * rng.lognormvariate(0, 0.05))
        samples = time_pair(call, call, SETTINGS, None, watch)
        ratio = ratio_interval(samples.reference, samples.kernel, seed)
        hits += ratio.low <= 1.0 <= ratio.high
    assert hits >= 88


def test_many_are_timed_in_both_orders() -> None:
    watch, order = Watch(), list[str]()

    def function(name: str, seconds: float) -> Callable[[], None]:
        advance = watch.call(lambda: seconds)

        def run() -> None:
            order.append(name)
            advance()

        return run

    settings = SETTINGS.model_copy(update={"block_seconds": 1e-5, "max_rounds": 6})
    times = time_many({"a": function("a", 1e-4), "b": function("b", 2e-4)}, settings, watch)
    assert times["a"] == pytest.approx((1e-4,) * 6)
    assert times["b"] == pytest.approx((2e-4,) * 6)
    assert order[-4:] == ["a", "b", "b", "a"]


def test_measuring_is_alone(tmp_path: Path) -> None:
    events: list[str] = []
    inside = threading.Event()

    def share() -> None:
        with Gate(tmp_path).shared():
            events.append("shared")

    with Gate(tmp_path).exclusive():
        thread = threading.Thread(target=share)
        thread.start()
        inside.wait(0.2)
        events.append("measured")
    thread.join()
    assert events == ["measured", "shared"]


def test_long_calls_get_fewer_rounds_instead_of_no_end() -> None:
    watch = Watch()
    settings = SETTINGS.model_copy(update={"min_rounds": 40, "max_rounds": 100, "max_seconds": 2.0})
    times = time_many({"a": watch.call(lambda: 1.0), "b": watch.call(lambda: 2.0)}, settings, watch)
    assert len(times["a"]) == len(times["b"]) == 2


def test_a_folder_of_another_user_is_left_alone(tmp_path: Path) -> None:
    mine = private_folder(tmp_path, "k")
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    assert private_folder(tmp_path, "k") == mine
    mine.rename(tmp_path / "elsewhere")
    (tmp_path / mine.name).symlink_to(tmp_path / "elsewhere")
    second = private_folder(tmp_path, "k")
    assert second.name == f"{mine.name}-1"
    assert private_folder(tmp_path, "k") == second
    second.chmod(0o777)
    assert stat.S_IMODE(private_folder(tmp_path, "k").stat().st_mode) == 0o700
    if os.getuid() == 0:
        os.chown(second, 12345, 12345)
        assert private_folder(tmp_path, "k").name == f"{mine.name}-2"


def test_every_process_of_a_user_comes_to_the_same_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = gate_folder()
    for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert gate_folder() == here


def test_a_gate_whose_folder_was_cleared_away_is_made_again(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with gate.exclusive():
        assert sorted(path.name for path in (tmp_path / "gate").iterdir()) == ["machine", "turnstile"]
