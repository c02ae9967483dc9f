"""The protocols of evaluation: the rules by which a kernel is checked and timed."""
