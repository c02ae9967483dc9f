"""Argument parsing that answers a mistake in one line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import NoReturn

from kernelevolve.core.errors import UserError


class Parser(ArgumentParser):
    """Of one command; options may stand between the positional arguments."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")

    def read(self, arguments: Sequence[str]) -> Namespace:
        return self.parse_intermixed_args(list(arguments))


def parser(command: str, description: str, epilog: str = "") -> Parser:
    return Parser(prog=f"kernelevolve {command}", description=description, epilog=epilog, allow_abbrev=False)
