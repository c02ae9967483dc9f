"""Checks whether a kernel computes what the reference computes."""
