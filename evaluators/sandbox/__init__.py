"""Keeps untrusted kernels from everything but their own work."""
