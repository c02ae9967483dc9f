"""Argument parsing with errors in one line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import NoReturn

from kernelevolve.core.errors import UserError


class Parser(ArgumentParser):
    """The argument parser of one command. Options may stand between positional arguments."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing the usage and exiting."""
        raise UserError(f"{message} (see {self.prog} --help)")

    def read(self, arguments: Sequence[str]) -> Namespace:
        """Parse the arguments."""
        return self.parse_intermixed_args(list(arguments))


def parser(command: str, description: str, epilog: str = "") -> Parser:
    """Return the parser of a command."""
    return Parser(prog=f"kernelevolve {command}", description=description, epilog=epilog, allow_abbrev=False)
