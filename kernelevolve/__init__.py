"""KernelEvolve: evolves an operator written in PyTorch into a verified, faster kernel."""

__version__ = "0.1.0"
