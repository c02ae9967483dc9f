"""Judging a kernel: source checks, compiling, correctness, timing, in isolation, as Ray tasks."""
