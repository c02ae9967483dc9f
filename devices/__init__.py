"""What hardware is, and how a language is compiled for it."""
