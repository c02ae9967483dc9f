"""The languages of kernels."""

from __future__ import annotations

from devices.languages.base import Language
from devices.languages.cpp import Cpp
from devices.languages.python import Python

LANGUAGES: tuple[Language, ...] = (Cpp(), Python())
"""The languages in the order in which they are tried for a file. The last one accepts any file."""


def language_of(source: str) -> str:
    """Return the name of the language of a kernel file."""
    return next(language.name for language in LANGUAGES if language.detects(source))


def get_language(name: str) -> Language:
    """Return the language with a name."""
    return {language.name: language for language in LANGUAGES}[name]


def fold(source: str) -> str:
    """Return a kernel file without the boilerplate that every file of its language contains."""
    for language in LANGUAGES:
        source = language.fold(source)
    return source


def unfold(source: str) -> str:
    """Return a file with its boilerplate, the inverse of `fold`. Boilerplate that a file uses but lacks is inserted too."""
    for language in LANGUAGES:
        source = language.unfold(source)
    return source
