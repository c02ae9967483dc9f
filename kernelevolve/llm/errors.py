"""How asking a model fails. Each can be pickled: it travels from the actor to the islands."""

from __future__ import annotations


class ModelError(Exception):
    """No answer. `str` of it is one line for a person."""


class TransientError(ModelError):
    """It may work in a while: a limit, a fault of the endpoint, a broken connection, half an answer."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the endpoint asks for."""
        super().__init__(text, retry_after)
        self.text = text
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.text


class LimitedError(TransientError):
    """The endpoint is asked too often. All who ask it wait."""


class TooLongError(ModelError):
    """Prompt and answer do not fit into the model's context."""

    def __init__(self, text: str, context: int | None = None) -> None:
        """`context`: tokens that fit, where the endpoint says so."""
        super().__init__(text, context)
        self.text = text
        self.context = context

    def __str__(self) -> str:
        return self.text


class RefusedError(ModelError):
    """The endpoint will never answer this: a wrong key, no such model, an illegal parameter."""


class OverspentError(ModelError):
    """What this request may cost is not left in the budget."""


class MissingExchangeError(ModelError):
    """A recording does not hold what is asked."""


class UnknownRunError(Exception):
    """The actor was started again since the run was opened, or never heard of it."""
