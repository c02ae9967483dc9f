"""Names of the checks that sets of inputs belong to, in the plural: a count stands before them."""

OWN, VARIANTS = "own inputs", "variants"
LAYOUTS = "other memory layouts"
OTHER_PARAMETERS = "sets of other parameters"
SHAPES, VALUES, NONFINITE_VALUES = "hidden shapes", "distributions of values", "inputs with NaN and infinities"
