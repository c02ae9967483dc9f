"""Signals end a run, wherever they arrive."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from kernelevolve.interrupts import Interrupts


class Careless:
    """Its finalizer is where the signal arrives."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_finalizer_swallows_is_found_by_the_next_look(number: int) -> None:
    interrupts = Interrupts()
    with interrupts.listen():
        interrupts.check()
        Careless(number)  # Raised in there, and gone.
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_at_once_and_handlers_are_put_back(number: int) -> None:
    before = signal.getsignal(number)

    def interrupted() -> None:
        with Interrupts().listen():
            os.kill(os.getpid(), number)
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert signal.getsignal(number) == before


def test_other_threads_leave_the_handlers_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def listen() -> None:
        with Interrupts().listen():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [before]
