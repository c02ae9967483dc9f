"""The reference's own outputs, and how far they can be trusted."""
