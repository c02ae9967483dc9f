"""Models that vLLM serves inside of Ray."""
