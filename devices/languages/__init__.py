"""How kernels are written: one entry a language."""

from __future__ import annotations

from devices.languages.base import Language
from devices.languages.cpp import Cpp
from devices.languages.python import Python

LANGUAGES: tuple[Language, ...] = (Cpp(), Python())
"""In the order in which a file is tried; the last one takes any."""


def language_of(source: str) -> str:
    """The name of the language that a kernel file is in."""
    return next(language.name for language in LANGUAGES if language.detects(source))


def get_language(name: str) -> Language:
    """The language of that name. Raises KeyError."""
    return next(language for language in LANGUAGES if language.name == name)


def fold(source: str) -> str:
    """A kernel file without what every file of its language carries and nobody needs to read."""
    for language in LANGUAGES:
        source = language.fold(source)
    return source


def unfold(source: str) -> str:
    """The inverse of `fold`; what a file uses without carrying it is put in too."""
    for language in LANGUAGES:
        source = language.unfold(source)
    return source
