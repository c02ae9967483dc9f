"""Inputs with other distributions of values than the task draws."""
