"""Search strategies: pure decisions, no I/O, no Ray."""
