"""Comparison of runs: curves, statistics, tables and plots."""
