"""Models that vLLM serves inside Ray."""
