"""Classes that the configuration names, and error messages for illegal settings."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from kernelevolve.core.errors import UserError


class Component(BaseModel):
    """A class given by its import path, together with its arguments.

    Strategies, operators and devices are chosen by it.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    target: str = Field(alias="_target_", pattern=r"^\w+(\.\w+)+$")
    """The import path of the class."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the class."""
        return dict(self.model_extra or {})

    def resolve(self, group: str) -> Any:
        """Import the class and check that it accepts the arguments.

        Args:
            group: The configuration key of this component, for error messages.

        Returns:
            The class.

        Raises:
            UserError: The class does not exist, or an argument is unknown or has the wrong type.
        """
        module, _, name = self.target.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"{group}._target_={self.target}: there is no such class ({error})") from error
        try:
            inspect.signature(found).bind_partial(**self.arguments)
        except TypeError as error:
            raise UserError(f"{group}: {name} does not take these settings: {error}") from error
        for key, value in self.arguments.items():
            try:
                TypeAdapter(_type_of(found, key)).validate_python(value)
            except ValidationError as error:
                raise refusal(error, f"{group}.{key}", {}) from error
        return found

    def build(self, group: str, **further: Any) -> Any:
        """Create an instance.

        Args:
            group: The configuration key of this component, for error messages.
            **further: Arguments besides those of the configuration.

        Returns:
            The instance.

        Raises:
            UserError: A setting has an illegal value. The message names its key.
        """
        found = self.resolve(group)
        try:
            return found(**self.arguments, **further)
        except ValidationError as error:
            raise refusal(error, group, self.arguments) from error
        except (TypeError, ValueError) as error:
            raise UserError(f"{group}: {error}") from error


def defaults(component: Any) -> dict[str, Any]:
    """Return the default values of a class's arguments."""
    parameters = inspect.signature(component).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not inspect.Parameter.empty
    }


def keys(composed: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield all dotted keys of nested mappings, inner nodes included."""
    for name, value in composed.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from keys(value, f"{prefix}{name}.")


def nearest(key: str, known: Sequence[str]) -> str:
    """Return the end of an error message for an unknown key: the closest known key, or how to list all of them."""
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not found:
        last = key.rpartition(".")[2]
        found = [name for name in known if name.rpartition(".")[2] == last][:1]
    return f": did you mean {found[0]}?" if found else ": `kernelevolve run --cfg job` prints all of them"


def refusal(error: ValidationError, prefix: str, data: Mapping[str, Any]) -> UserError:
    """Return a `UserError` that names the first illegal key.

    Args:
        error: The validation error.
        prefix: The dotted key of the validated data; empty at the top level.
        data: The validated data, for suggestions of similar keys.
    """
    first = error.errors()[0]
    key = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])])
    if first["type"] == "missing":
        return UserError(f"{key} has no value: write {key}=...")
    if first["type"] == "extra_forbidden":
        return UserError(
            f"there is no setting {key}{nearest(key, [name for name in keys(data, f'{prefix}.' if prefix else '') if name != key])}"
        )
    return UserError(f"{key}={json.dumps(first['input'], default=str)}: {first['msg'][0].lower()}{first['msg'][1:]}")


def _type_of(component: Any, argument: str) -> Any:
    """Return the type of a constructor's argument. A dataclass's field is looked up in the module of the class that declares it."""
    bases = inspect.getmro(component)
    for base in bases if is_dataclass(component) else ():
        annotation = inspect.get_annotations(base).get(argument)
        if annotation is not None:
            field = type(argument, (), {"__annotations__": {argument: annotation}})
            return get_type_hints(field, vars(sys.modules[base.__module__]))[argument]
    return get_type_hints(component.__init__).get(argument, Any)
