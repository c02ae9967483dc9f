"""The names of the checks that sets of inputs belong to. They are plurals, since messages put a count before them."""

OWN, VARIANTS = "own inputs", "variants"
ARGUMENTS = "other plain arguments"
BATCHES = "batches in the place of one sample"
UNUSUAL = (ARGUMENTS, BATCHES)
"""The checks on inputs that differ so much from the task's that a kernel may leave them to PyTorch operations."""
OTHER_PARAMETERS = "sets of other parameters"
SHAPES, VALUES, NONFINITE_VALUES = "hidden shapes", "distributions of values", "inputs with NaN and infinities"
COMPILED = "compiled functions"
