"""Whose fault something is that no verdict tells."""

from __future__ import annotations


class UserError(Exception):
    """One line that says what is wrong and how to mend it. The command line prints it without a traceback and exits with 2."""


class InfrastructureError(Exception):
    """What this machine or a process of ours did, not a kernel and not the user. It is tried again, then raised."""
