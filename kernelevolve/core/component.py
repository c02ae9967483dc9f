"""A class that the configuration names, and how a mistake in it is told."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from kernelevolve.core.errors import UserError


class Component(BaseModel):
    """A class to build, by its import path, with its arguments: how a strategy or an operator is chosen."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    target: str = Field(alias="_target_", pattern=r"^\w+(\.\w+)+$")

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def resolve(self, group: str) -> Any:
        """The class, once it is certain that it takes these arguments. Raises UserError that names the key."""
        module, _, name = self.target.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"{group}._target_={self.target}: there is no such class ({error})") from error
        try:
            inspect.signature(found).bind_partial(**self.arguments)
        except TypeError as error:
            raise UserError(f"{group}: {name} does not take these settings: {error}") from error
        hints = get_type_hints(found.__init__)
        for key, value in self.arguments.items():
            try:
                TypeAdapter(hints.get(key, Any)).validate_python(value)
            except ValidationError as error:
                raise refusal(error, f"{group}.{key}", {}) from error
        return found

    def build(self, group: str, **further: Any) -> Any:
        """An instance. Raises UserError that names the key which has an illegal value."""
        found = self.resolve(group)
        try:
            return found(**self.arguments, **further)
        except ValidationError as error:
            raise refusal(error, group, self.arguments) from error
        except (TypeError, ValueError) as error:
            raise UserError(f"{group}: {error}") from error


def keys(composed: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All dotted keys, inner ones included."""
    for name, value in composed.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from keys(value, f"{prefix}{name}.")


def nearest(key: str, known: Sequence[str]) -> str:
    """What to say of a key that there is not."""
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not found:
        last = key.rpartition(".")[2]
        found = [name for name in known if name.rpartition(".")[2] == last][:1]
    return f": did you mean {found[0]}?" if found else ": `kernelevolve run --cfg job` prints all of them"


def refusal(error: ValidationError, prefix: str, data: Mapping[str, Any]) -> UserError:
    """Names the first key that is wrong. `prefix`: the key of what was validated; `data`: all that there is."""
    first = error.errors()[0]
    key = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])])
    if first["type"] == "missing":
        return UserError(f"{key} has no value: write {key}=...")
    if first["type"] == "extra_forbidden":
        return UserError(
            f"there is no setting {key}{nearest(key, [name for name in keys(data, f'{prefix}.' if prefix else '') if name != key])}"
        )
    return UserError(f"{key}={json.dumps(first['input'], default=str)}: {first['msg'][0].lower()}{first['msg'][1:]}")
