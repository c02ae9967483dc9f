"""Endpoints that speak OpenAI's protocol: a vendor's, `vllm serve`, a gateway."""
