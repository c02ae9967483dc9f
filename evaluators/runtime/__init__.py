"""Runs one implementation of a task in a process of its own."""
