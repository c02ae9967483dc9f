"""The measurement of a kernel's speedup over the reference."""
