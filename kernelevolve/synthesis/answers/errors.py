"""The error of a model answer that holds no kernel."""

from __future__ import annotations


class AnswerError(ValueError):
    """A model answer cannot be used. The message goes back to the model, so it says how to mend the answer."""
