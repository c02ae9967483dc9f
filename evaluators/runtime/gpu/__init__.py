"""The runtime of a GPU."""
