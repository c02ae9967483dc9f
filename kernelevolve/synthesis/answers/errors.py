"""An answer that is no kernel."""

from __future__ import annotations


class AnswerError(ValueError):
    """What is wrong with it, in a form that the model that gave it can act on."""
