"""The toolchains, one module per language."""
