"""Operators: what turns an expansion into a new kernel."""
