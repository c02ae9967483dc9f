from __future__ import annotations

from kernelevolve.core.budget import Budget, Spent
from kernelevolve.store.ledger import Claim, Ledger

ANN, BEA = (0, 1), (1, 1)


def test_one_owner_per_kernel() -> None:
    ledger = Ledger(Budget(), max_repeats=5)
    assert ledger.claim("a", ANN, Spent()) is Claim.GRANTED
    assert ledger.claim("a", ANN, Spent()) is Claim.BUSY
    assert ledger.claim("a", BEA, Spent()) is Claim.BUSY
    ledger.release("a", BEA)
    assert ledger.claim("a", BEA, Spent()) is Claim.BUSY
    ledger.release_island(0)
    assert ledger.claim("a", BEA, Spent()) is Claim.GRANTED


def test_no_more_claims_than_evaluations_left() -> None:
    ledger = Ledger(Budget(evaluations=3), max_repeats=5)
    spent = Spent(evaluations=1)
    assert [ledger.claim(kernel, ANN, spent) for kernel in "abc"] == [Claim.GRANTED, Claim.GRANTED, Claim.WAIT]
    ledger.release("a", ANN)
    assert ledger.claim("c", ANN, spent) is Claim.GRANTED
    ledger.settle("b", ANN, cached=False)
    ledger.settle("c", ANN, cached=False)
    assert ledger.claim("d", ANN, Spent(evaluations=3)) is Claim.OVER
    assert ledger.reason == "3 evaluations are done"


def test_nothing_new_for_long_ends_the_run() -> None:
    ledger = Ledger(Budget(), max_repeats=3)
    for cached in (True, True, False, True, True):
        ledger.settle("a", ANN, cached)
    assert ledger.reason is None
    ledger.settle("a", ANN, cached=True)
    assert ledger.reason == "the last 3 proposals were known kernels"


def test_the_first_reason_stands() -> None:
    ledger = Ledger(Budget(seconds=1), max_repeats=3)
    ledger.finish("stopped")
    ledger.check(Spent(seconds=2))
    assert ledger.reason == "stopped"
