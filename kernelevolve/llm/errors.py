"""The errors of asking a model. They can be pickled, since they travel from the actor to the islands."""

from __future__ import annotations


class ModelError(Exception):
    """A request without an answer. Its `str` is one line for people."""


class TransientError(ModelError):
    """A failure that may pass: a rate limit, a fault of the endpoint, a broken connection, an incomplete answer."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        """Create the error. `retry_after` is the seconds that the endpoint asks to wait."""
        super().__init__(text, retry_after)
        self.text = text
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.text


class LimitedError(TransientError):
    """The endpoint's rate limit is exceeded. All callers of the model wait."""


class TooLongError(ModelError):
    """The prompt and the answer do not fit into the model's context."""

    def __init__(self, text: str, context: int | None = None) -> None:
        """Create the error. `context` is the size of the context in tokens, if the endpoint reports it."""
        super().__init__(text, context)
        self.text = text
        self.context = context

    def __str__(self) -> str:
        return self.text


class RefusedError(ModelError):
    """A request that the endpoint will never answer: a wrong key, an unknown model, an illegal parameter."""


class BudgetExceededError(ModelError):
    """A request that may cost more than what is left in the budget."""


class MissingExchangeError(ModelError):
    """A request that the replayed recording does not contain."""


class UnknownRunError(Exception):
    """The actor does not know the run: it was restarted since the run was opened, or the run was never opened."""
