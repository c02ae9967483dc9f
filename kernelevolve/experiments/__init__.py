"""Comparing runs: curves, their statistics, tables and plots."""
