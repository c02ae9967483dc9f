"""Evaluation of kernels: source checks, compilation, correctness and timing, in isolated processes, as Ray tasks."""
