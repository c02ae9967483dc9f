"""Planning of a traced program before it is written: target-neutral rewrites, fusion, and the choice of library calls."""
