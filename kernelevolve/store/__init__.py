"""The search graph on disk."""
