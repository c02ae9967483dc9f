"""The operator that needs no model: it traces the reference, drafts kernels for it and moves their knobs."""
