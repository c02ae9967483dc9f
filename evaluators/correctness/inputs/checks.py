"""Names of the checks that sets of inputs belong to, in the plural: a count stands before them."""

OWN, VARIANTS = "own inputs", "variants"
ARGUMENTS = "other plain arguments"
BATCHES = "batches in the place of one sample"
UNUSUAL = (ARGUMENTS, BATCHES)
"""For which a kernel may well leave the work to the reference's own operations."""
OTHER_PARAMETERS = "sets of other parameters"
SHAPES, VALUES, NONFINITE_VALUES = "hidden shapes", "distributions of values", "inputs with NaN and infinities"
COMPILED = "compiled functions"
