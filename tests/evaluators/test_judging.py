"""The pieces of a verdict: comparing, timing, intervals, the gate."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators import tensors
from evaluators.blocks import Taken
from evaluators.correctness import Mismatch, bounds_of
from evaluators.correctness import compare as compare_within
from evaluators.gate import Gate, gate_folder
from evaluators.settings import TimingSettings
from evaluators.statistics import ratio_of
from evaluators.stopping import LongEnough, TightEnough, spread
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Tolerance
from kernelevolve.tasks.tensor_kinds import DTYPES

SETTINGS = TimingSettings(
    reference_processes=1,
    kernel_processes=1,
    warmup_calls=1,
    block_seconds=0.001,
    most_calls=8,
    block_mb=8,
    min_rounds=6,
    max_rounds=60,
    target_interval=0.02,
    max_seconds=10.0,
    disturbed_factor=2.0,
)


def compare(
    candidate: torch.Tensor, native: torch.Tensor, oracle: torch.Tensor, tolerance: Tolerance, label: str
) -> Mismatch | None:
    return compare_within(candidate, native, oracle, bounds_of(native, oracle, tolerance), label)


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


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 4), max_size=3))
def test_tensors_survive_the_file(dtype: str, shape: list[int]) -> None:
    import tempfile

    value = (torch.randn(shape) * 50).to(DTYPES[dtype])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        meta = tensors.save(value, path)
        back = tensors.load(meta, path)
        assert back.dtype == value.dtype
        assert tensors.same_bits(back, value)
        meta["shape"], meta["stride"] = [3, *meta["shape"]], [max(1, value.numel()), *meta["stride"]]
        if value.numel():
            with pytest.raises(ValueError, match="announced"):
                tensors.load(meta, path)


def blocks(rng: random.Random, seconds: float, offsets: list[float], rounds: int) -> list[Taken]:
    """Of as many processes as there are offsets: factors that hold for a process, beside the noise of each block."""
    turns = (number % len(offsets) for number in range(rounds))
    return [Taken(turn, seconds * offsets[turn] * rng.lognormvariate(0, 0.03)) for turn in turns]


def offsets(rng: random.Random, processes: int) -> list[float]:
    return [rng.lognormvariate(0, 0.03) for _ in range(processes)]


def test_the_ratio_is_found() -> None:
    rng = random.Random(0)
    ratio = ratio_of(blocks(rng, 3e-4, [1.0] * 4, 80), blocks(rng, 1e-4, [1.0] * 4, 80), 0)
    assert ratio.low < 3.0 < ratio.high
    assert ratio.high / ratio.low < 1.1


@pytest.mark.parametrize("processes", [(4, 4), (6, 6), (4, 1), (5, 5)])
def test_an_implementation_against_itself_has_one_in_its_interval(processes: tuple[int, int]) -> None:
    hits = 0
    for seed in range(200):
        rng = random.Random(seed)
        first, second = (blocks(rng, 1e-4, offsets(rng, count), 60) for count in processes)
        ratio = ratio_of(first, second, seed)
        hits += ratio.low <= 1.0 <= ratio.high
    assert hits >= 184


def test_the_interval_is_no_narrower_than_the_processes_lie_apart() -> None:
    rng = random.Random(0)
    alike = ratio_of(blocks(rng, 1e-4, [1.0] * 4, 400), blocks(rng, 1e-4, [1.0] * 4, 400), 0)
    apart = ratio_of(blocks(rng, 1e-4, [1.0, 1.1, 0.9, 1.05], 400), blocks(rng, 1e-4, [1.0] * 4, 400), 0)
    assert alike.high / alike.low < 1.03
    assert apart.high / apart.low > 1.15


def test_blocks_that_something_slowed_down_move_the_ratio_little() -> None:
    off = []
    for seed in range(40):
        rng = random.Random(seed)
        first, second = blocks(rng, 3e-4, [1.0] * 6, 60), blocks(rng, 1e-4, [1.0] * 6, 60)
        spoilt = [replace(t, seconds=t.seconds * 2.5) if rng.random() < 0.1 else t for t in second]
        ratio = ratio_of(first, spoilt, seed)
        off.append(abs(ratio.value / 3.0 - 1))
    assert sorted(off)[20] < 0.02, "their mean is off by a tenth"
    assert max(off) < 0.06


def test_of_six_blocks_one_that_something_slowed_down_counts_little() -> None:
    off, widths = [], []
    for seed in range(40):
        rng = random.Random(seed)
        first, second = blocks(rng, 3e-4, [1.0, 1.0], 6), blocks(rng, 1e-4, [1.0], 6)
        slow = rng.randrange(6)
        spoilt = [replace(t, seconds=t.seconds * 2.5) if i == slow else t for i, t in enumerate(first)]
        ratio = ratio_of(spoilt, second, seed)
        off.append(abs(ratio.value / 3.0 - 1))
        widths.append(ratio.high / ratio.low)
    assert sorted(off)[20] < 0.04, "their mean is off by a sixth"
    assert sorted(widths)[20] < 1.6, "twice the scatter of the others, not of the slow one"


def test_two_processes_that_lie_apart_tell_what_is_usual_and_no_less_than_they_differ() -> None:
    rng = random.Random(0)
    alike = ratio_of(blocks(rng, 3e-4, [1.0, 1.0], 40), blocks(rng, 1e-4, [1.0], 40), 0)
    apart = ratio_of(blocks(rng, 3e-4, [1.0, 2.0], 40), blocks(rng, 1e-4, [1.0], 40), 0)
    assert 1.05 < alike.high / alike.low < 1.25
    assert apart.value == pytest.approx(3.0 * 2**0.5, rel=0.05)
    assert apart.low < 3.0
    assert apart.high > 6.0
    assert apart.high / apart.low < 20.0


def test_measuring_stops_when_it_is_sure() -> None:
    rng, enough = random.Random(0), TightEnough(SETTINGS)
    first, second = blocks(rng, 3e-4, [1.0], 60), blocks(rng, 1e-4, [1.0], 60)
    rounds = next(n for n in range(1, 60) if enough({"eager": first[:n], "k": second[:n]}, 0.1))
    assert SETTINGS.min_rounds <= rounds < 60
    assert spread(list(zip(first, second, strict=True))[:rounds])[1] < SETTINGS.target_interval
    assert enough({"eager": first[:6], "k": second[:6]}, SETTINGS.max_seconds + 1)
    assert not enough({"eager": first[:2], "k": second[:2]}, SETTINGS.max_seconds + 1), "so few say nothing"
    assert enough({"eager": first}, 0.1), "the kernel has failed"


def test_a_slow_kernel_is_dropped_early() -> None:
    rng, enough = random.Random(0), TightEnough(SETTINGS, floor=0.7)
    first, second = blocks(rng, 1e-4, [1.0], 8), blocks(rng, 4e-4, [1.0], 8)
    assert enough({"eager": first[:6], "k": second[:6]}, 0.1)
    assert not enough({"eager": second[:4], "k": first[:4]}, 0.1)


def test_long_calls_get_fewer_rounds_instead_of_no_end() -> None:
    enough = LongEnough(SETTINGS.model_copy(update={"min_rounds": 40, "max_seconds": 2.0}), contestants=2)
    two = {"eager": [Taken(0, 1.0)] * 2, "k": [Taken(0, 2.0)] * 2}
    assert not enough(two, 6.0)
    assert enough(two, 9.0)


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
