"""Whether a kernel computes what the reference computes."""
