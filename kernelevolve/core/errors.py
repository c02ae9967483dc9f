"""Errors that a user can cause and mend."""

from __future__ import annotations


class UserError(Exception):
    """One line that says what is wrong and how to mend it. The command line prints it without a traceback and exits with 2."""
