"""Populations as Ray actors, and the migration between them."""
