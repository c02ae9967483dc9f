"""AMD's Instinct accelerators."""
