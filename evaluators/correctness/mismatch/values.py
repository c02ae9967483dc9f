"""Descriptions of the values of the wrong elements. Each guess is made from a sample and then tested on all elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from evaluators.correctness.mismatch.evidence import Evidence, Predicate

_FLOAT16_MAX = 65504.0
_HUGE = 1e10
"""The magnitude from which on a value is not a plausible result, as a multiple of the RMS of the expected result."""
_NARROWER = ((8, True), (8, False), (16, True), (16, False), (32, True), (32, False))
"""The integer types that a result may have been narrowed to: (bits, signed)."""


class Guess(NamedTuple):
    """A description that may be true of the wrong elements."""

    are: str
    """The predicate of the sentence, such as `are zero`; its subject is 'All elements' or 'The wrong elements'."""
    predicate: Predicate
    """The test that is true of an element that fits the description."""
    everywhere: bool = False
    """Whether the test must be true of the right elements too."""


Guesser = Callable[[Evidence, torch.Tensor, torch.Tensor], Guess | None]


def what_they_are(evidence: Evidence) -> tuple[str, bool] | None:
    """Return a description of the values of all wrong elements.

    Args:
        evidence: The wrong elements.

    Returns:
        The predicate of a sentence, and whether it is true of all elements; None where no description fits.
    """
    y, w = evidence.sample
    for guesser in _FOR_FLOATS if evidence.floating else _FOR_INTEGERS:
        guess = guesser(evidence, y, w)
        if guess is None:
            continue
        if guess.everywhere and evidence.holds_everywhere(guess.predicate):
            return guess.are, evidence.all_wrong
        if not guess.everywhere and evidence.holds(guess.predicate):
            return guess.are, evidence.all_wrong or evidence.holds_everywhere(guess.predicate)
    return None


def _nan(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    return Guess("are NaN", lambda y, w: y.isnan()) if bool(y.isnan().all()) else None  # noqa: ARG005


def _float16_overflow(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    if not bool((y.isinf() & (w.abs() >= _FLOAT16_MAX)).all()):
        return None

    def is_so(y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        # Rounding to float16 overflows from 65520 on.
        return torch.where(w.abs() > 65520, y.isinf() & (y.sign() == w.sign()), y.isfinite() | w.isinf())

    are = "are infinite where, and only where, the expected values exceed 65504, the largest float16"
    return Guess(are, is_so, everywhere=True)


def _infinite(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    return Guess("are infinite", lambda y, w: y.isinf()) if bool(y.isinf().all()) else None  # noqa: ARG005


def _clamped_at_zero(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    if e.all_wrong or not bool(((y == 0) & (w < 0)).all()):
        return None
    return Guess("are zero where they should be negative", lambda y, w: e.close(y, w.clamp(min=0)), everywhere=True)


def _zero(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    return Guess("are zero", lambda y, w: y == 0) if bool((y == 0).all()) else None  # noqa: ARG005


def _not_clamped(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    if not bool(((w == 0) & (y < 0)).all()) or e.count < 3:
        return None
    are = "are negative where they should be zero (no clamp at 0, no ReLU)"
    return Guess(are, lambda y, w: torch.where(e.close(y, w), w == w, (w == 0) & (y < 0)))  # noqa: PLR0124


def _absolute(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    if e.all_wrong or not bool((w < 0).all()) or not bool(e.close(y, -w).all()):
        return None
    return Guess("are the absolute values of what they should be", lambda y, w: e.close(y, w.abs()), everywhere=True)


def _negated(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    if not bool(e.close(y, -w).all()):
        return None
    return Guess("have the wrong sign (y = -expected)", lambda y, w: e.close(y, -w))


def _one_value(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    if e.count < 2 or not bool((y == y[0]).all()):
        return None
    value = y[0]
    return Guess(f"are {value.item():.6g}", lambda y, w: y == value)  # noqa: ARG005


def _clamped(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    bound = y[0].abs()
    if e.count < 3 or bound == 0 or not bool(((y.abs() == bound) & (w.abs() > bound)).all()):
        return None
    are = f"are clamped to {bound.item():.6g} in magnitude"
    return Guess(are, lambda y, w: e.close(y, w.clamp(-bound, bound)), everywhere=True)


def _factor(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    usable = y.isfinite() & w.isfinite() & (w.abs() > 1e-2 * e.scale)
    if int(usable.sum()) < 3 or not _spread(e, w):
        return None
    factor = (y[usable] / w[usable]).median()
    # A factor close to one would also fit errors of a few thousandths.
    if factor == 0 or not bool(factor.isfinite()) or abs(factor.item() - 1) < 1e-2:
        return None
    are = f"are off by the factor {_factor_text(factor.item())}"
    # The tolerance is relative to the factor: an absolute one would accept any result where the factor is small.
    slack = 2 * e.rtol * factor.abs()
    return Guess(are, lambda y, w: (y - w * factor).abs() <= slack * (w.abs() + 1e-2 * e.scale))


def _factor_text(factor: float) -> str:
    inverse = 1 / factor
    if abs(factor - 2) < 2e-3:
        return "2 (added twice?)"
    if abs(inverse) > 1.5 and abs(inverse - round(inverse)) < 1e-3 * abs(inverse):
        return f"{factor:.6g} (1/{round(inverse)})"
    return f"{factor:.6g}"


def _offset(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    if e.count < 3 or not _spread(e, w):
        return None
    offset = (y - w).median()
    if not bool(offset.isfinite()) or offset == 0:
        return None
    slack = 4 * e.rtol * offset.abs()
    return Guess(
        f"are off by {offset.item():+.6g}", lambda y, w: (y - w - offset).abs() <= slack + 1e-2 * e.rtol * w.abs()
    )


def _spread(e: Evidence, w: torch.Tensor) -> bool:
    """Return whether the expected values vary so much that a factor cannot be mistaken for an offset."""
    finite = w[w.isfinite()].double()
    return finite.numel() >= 3 and float(finite.std()) > 0.05 * max(float(finite.abs().max()), 1e-2 * e.scale)


def _whole(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    for name, rounded in (("cut off", torch.trunc), ("rounded down", torch.floor), ("rounded", torch.round)):
        if e.count >= 3 and bool((y == rounded(w)).all()) and bool((y != 0).any()):

            def is_so(y: torch.Tensor, w: torch.Tensor, rounded: Callable[..., torch.Tensor] = rounded) -> torch.Tensor:
                return y == rounded(w)

            return Guess(f"are whole numbers: the fraction is {name}", is_so, everywhere=True)
    return None


def _off_by_one(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    difference = y - w
    if e.count < 2 or e.got.dtype is torch.bool or not bool((difference.abs() == 1).all()):
        return None
    if bool((difference == difference[0]).all()):
        step = difference[0]
        return Guess(f"are {'one too large' if step > 0 else 'one too small'}", lambda y, w: y - w == step)
    return Guess("are off by one, up or down", lambda y, w: (y - w).abs() == 1)


def _saturated(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    for bits, signed in _NARROWER:
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        if bool((((y == high) & (w > high)) | ((y == low) & (w < low))).all()):
            are = f"are saturated at {low} and {high}, the range of {'' if signed else 'u'}int{bits}"

            def is_so(y: torch.Tensor, w: torch.Tensor, low: int = low, high: int = high) -> torch.Tensor:
                return y == w.clamp(low, high)

            return Guess(are, is_so, everywhere=True)
    return None


def _wrapped(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    for bits, signed in reversed(_NARROWER):
        low, size = (-(1 << (bits - 1)) if signed else 0), 1 << bits
        if bool((y == (w - low) % size + low).all()):
            are = f"have overflowed: they are the expected values wrapped around to {'' if signed else 'u'}int{bits}"

            def is_so(y: torch.Tensor, w: torch.Tensor, low: int = low, size: int = size) -> torch.Tensor:
                return y == (w - low) % size + low

            return Guess(are, is_so, everywhere=True)
    return None


def _opposite(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    if e.got.dtype is not torch.bool or e.count < 8 or not e.all_wrong:
        return None
    return Guess("are the opposite of what they should be", lambda y, w: y != w)


def _integer_factor(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:  # noqa: ARG001
    usable = w != 0
    if int(usable.sum()) < 3 or w.unique().numel() < 3 or bool((y[usable] % w[usable] != 0).any()):
        return None
    factor = y[usable][0] // w[usable][0]
    if not bool((y == w * factor).all()) or factor == 0:
        return None
    return Guess(f"are off by the factor {_factor_text(float(factor))}", lambda y, w: y == w * factor)


def _integer_offset(e: Evidence, y: torch.Tensor, w: torch.Tensor) -> Guess | None:
    offset = y[0] - w[0]
    if e.count < 3 or w.unique().numel() < 3:
        return None
    return Guess(f"are off by {int(offset):+d}", lambda y, w: y - w == offset)


_FOR_FLOATS: tuple[Guesser, ...] = (
    _nan,
    _float16_overflow,
    _infinite,
    _clamped_at_zero,
    _zero,
    _absolute,
    _negated,
    _not_clamped,
    _one_value,
    _clamped,
    _whole,
    _factor,
    _offset,
)
_FOR_INTEGERS: tuple[Guesser, ...] = (
    _clamped_at_zero,
    _zero,
    _saturated,
    _absolute,
    _negated,
    _one_value,
    _off_by_one,
    _clamped,
    _wrapped,
    _opposite,
    _integer_factor,
    _integer_offset,
)


def stray(evidence: Evidence) -> str:
    """Return a sentence about wrong elements that are NaN, infinite, denormal or huge where the expected values are not."""
    if not evidence.floating or not evidence.scale:
        return ""
    tiny, huge = torch.finfo(evidence.kind).tiny, _HUGE * evidence.scale
    huge_text = f"larger than {_HUGE:g} times the RMS of the expected result"
    counts = dict.fromkeys(("NaN", "infinite", "denormal", huge_text), 0)
    for y, w in evidence.chunks():
        size = y.abs()
        if bool((size <= huge).all()) and not bool(((size > 0) & (size < tiny)).any()):
            continue
        usual = w.isfinite() & ((w.abs() >= tiny) | (w == 0)) & (y != w)
        odd = (y.isnan(), y.isinf(), (size > 0) & (size < tiny), (size > huge) & y.isfinite())
        for kind, found in zip(counts, odd, strict=True):
            counts[kind] += int((found & usual).sum())
    phrases = [f"{count} {'is' if count == 1 else 'are'} {kind}" for kind, count in counts.items() if count]
    if not phrases:
        return ""
    unwritten = 8 * sum(list(counts.values())[2:]) > evidence.count
    question = " (memory never written?)" if unwritten else ""
    return f"Of the {evidence.count} wrong elements {', '.join(phrases)}{question}."
