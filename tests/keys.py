"""The key of the endpoints that tests start, and the variable of the environment that holds it."""

from __future__ import annotations

VARIABLE = "A_KEY_FOR_TESTS"
KEY = "sk-a-secret-that-must-not-be-seen"
