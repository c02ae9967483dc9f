"""Evaluation as Ray actors and tasks, and without Ray."""
