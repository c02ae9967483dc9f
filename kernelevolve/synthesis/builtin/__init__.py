"""The built-in operator: synthesises kernels from the traced form of the reference, with no model."""
