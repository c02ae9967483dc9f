"""The CPU runtime: runner processes that are forked, confined, and stopped whenever they have no order to carry out."""
