"""What is wrong with a tensor, in words that point at the mistake.

`values`: what the wrong elements hold. `orders`: right values at wrong places. `places`: where the wrong ones are. `precision`: deviations
that are small everywhere.
"""

from evaluators.correctness.mismatch.describe import pattern

__all__ = ["pattern"]
