"""Descriptions of wrong results that point at the mistake in the kernel.

`values` describes what the wrong elements hold, `orders` right values at wrong places, `places` where the wrong elements are, and
`precision` results whose errors are small everywhere.
"""

from evaluators.correctness.mismatch.describe import pattern

__all__ = ["pattern"]
