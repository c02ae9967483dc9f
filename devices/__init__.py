"""Devices, toolchains that compile kernels for them, and the languages of kernels."""
