"""Blocks are short, and wait for an idle machine, where others disturb long ones."""

from __future__ import annotations

import pytest

from evaluators.runtime.base import Noise
from evaluators.timing.pacing import Pacing
from tests.evaluators.timing.simulated import SETTINGS

FINAL = SETTINGS.model_copy(update={"block_seconds": 3e-3})
CALL = 2e-5


def pacing(slots: int = 128) -> Pacing:
    made = Pacing(FINAL, slots)
    made.calls = made.wanted_calls([CALL, 3 * CALL])
    return made


def test_on_a_quiet_machine_blocks_stay_long_and_nobody_waits() -> None:
    made = pacing()
    assert made.calls == 128
    for number in range(60):
        one = Noise.NOISY if number % 8 == 0 else Noise.QUIET
        assert not made.learn([one, Noise.QUIET], [None, None], [CALL, 3 * CALL])
    assert made.calls == 128
    assert made.patience() == 0.0


def test_where_others_disturb_blocks_are_short_once_and_for_all() -> None:
    made = pacing()
    shorter = [made.learn([Noise.NOISY, Noise.SHARED], [None, None], [CALL, 3 * CALL]) for _ in range(20)]
    assert shorter.count(True) == 1
    assert 2e-4 <= made.calls * CALL <= 1e-3
    assert made.patience() > 0


@pytest.mark.parametrize(("noisy", "short"), [(3, False), (5, True)])
def test_untimed_blocks_shorten_the_first_round_where_most_are_disturbed(noisy: int, short: bool) -> None:
    made = pacing()
    made.look_ahead([Noise.NOISY] * 7, [CALL, 3 * CALL])
    assert made.calls == 128, "too few to tell"
    made = pacing()
    for number in range(8):
        made.look_ahead([Noise.NOISY if number < noisy else Noise.QUIET], [CALL, 3 * CALL])
    assert (made.calls < 128) is short
    assert (made.patience() > 0) is short


@pytest.mark.parametrize(("fastest", "slowest"), [(1e-3, 1e-2), (1e-5, 15e-5), (1e-6, 1e-1)])
def test_a_short_block_has_a_call_and_no_more_than_there_are_slots(fastest: float, slowest: float) -> None:
    made = Pacing(FINAL, 64)
    made.calls = made.wanted_calls([fastest, slowest])
    for _ in range(10):
        made.learn([Noise.NOISY] * 2, [None] * 2, [fastest, slowest])
    assert 1 <= made.calls <= 64


def test_blocks_that_were_too_short_since_making_ready_was_disturbed_are_made_longer() -> None:
    made = pacing()
    made.calls = 1
    assert any(made.learn([Noise.NOISY] * 2, [None] * 2, [CALL, CALL]) for _ in range(10))
    assert made.calls * CALL == pytest.approx(8e-4)


def test_waiting_that_is_in_vain_is_given_up() -> None:
    lucky, vain = pacing(), pacing()
    for made, found in ((lucky, True), (vain, False)):
        for _ in range(10):
            made.learn([Noise.NOISY] * 2, [found if made.patience() else None] * 2, [CALL, CALL])
    assert lucky.patience() > 0
    assert vain.patience() == 0.0
