"""Runtimes: they run each implementation of a task in a process of its own, on one kind of hardware."""
