"""How fast a kernel is against the reference."""
