"""Errors that are not the fault of a kernel."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can fix.

    Its message is one line that says what is wrong and how to mend it. The command line prints it without a
    traceback and exits with code 2.
    """


class InfrastructureError(Exception):
    """A failure of this machine or of one of our processes. It is retried, then raised."""
