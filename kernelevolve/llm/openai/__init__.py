"""Endpoints with OpenAI's protocol: a vendor's, `vllm serve`, a gateway."""
