"""A table of every kernel of a space of knobs with its evaluation, in one small file."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.knobs import Knob, Space

_FORMAT = 1
_STATUSES = tuple(Status)
SHIPPED = Path(__file__).parent / "tables"
"""The folder of the shipped tables."""


@dataclass(frozen=True, eq=False)
class Table:
    """A space of knobs with one row per distinct kernel. Several points may be the same kernel."""

    task: str
    device: str
    about: Mapping[str, Any]
    """The origin of the table: hardware, versions, settings."""
    knobs: tuple[Knob, ...]
    default: tuple[int, ...]
    """For each knob, the index of the operator's default in its domain."""
    row_of: np.ndarray
    """The row of each point: shape (values of the first knob, of the second, ...), int32."""
    place: np.ndarray
    """The index of each kernel's value in the domain of each knob: shape (rows, knobs), int16; -1 if it has no such
    knob.
    """
    status: np.ndarray
    """The index in `Status`: shape (rows,), uint8."""
    speedup: np.ndarray
    """The speedup over eager: shape (rows,), float32; 0 if the kernel is not correct."""
    deviation: np.ndarray
    """The standard deviation of one measurement in a search, as a share of the speedup: shape (rows,), float32."""
    seconds: np.ndarray
    """The seconds that compiling and evaluating took: shape (rows,), float32."""
    traits: Mapping[str, np.ndarray]
    """Name of a trait -> its values: shape (rows,), float32."""

    def __len__(self) -> int:
        """Return the number of kernels."""
        return len(self.speedup)

    @property
    def best(self) -> float:
        """The largest speedup."""
        return float(self.speedup.max())

    @cached_property
    def default_point(self) -> dict[str, KnobValue]:
        """The operator's default value of each knob."""
        return {knob.name: knob.domain[at] for knob, at in zip(self.knobs, self.default, strict=True)}

    @cached_property
    def _offsets(self) -> list[tuple[str, dict[KnobValue, int], int]]:
        """For each knob: its name, the offset of each value in the flattened `row_of`, and the default's offset."""
        sizes = [len(knob.domain) for knob in self.knobs]
        steps = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
        return [
            (knob.name, {value: at * step for at, value in enumerate(knob.domain)}, default * step)
            for knob, step, default in zip(self.knobs, steps, self.default, strict=True)
        ]

    @cached_property
    def _flat(self) -> list[int]:
        rows: list[int] = self.row_of.ravel().tolist()
        return rows

    @cached_property
    def _around(self) -> list[tuple[Mapping[str, KnobValue], Space]]:
        """For each row, the values of its knobs and the space around it."""
        found: list[tuple[Mapping[str, KnobValue], Space]] = []
        for places in self.place.tolist():
            has = [(knob, at) for knob, at in zip(self.knobs, places, strict=True) if at >= 0]
            found.append(({knob.name: knob.domain[at] for knob, at in has}, {knob.name: knob for knob, _ in has}))
        return found

    def row(self, point: Mapping[str, KnobValue]) -> int:
        """Return the row of a point. Knobs that the point does not name have their default."""
        at = 0
        for name, offsets, default in self._offsets:
            at += offsets[point[name]] if name in point else default
        return self._flat[at]

    def point(self, row: int) -> Mapping[str, KnobValue]:
        """Return the values of a kernel's knobs."""
        return self._around[row][0]

    def space(self, row: int) -> Space:
        """Return the space around a kernel: the knobs that it has."""
        return self._around[row][1]

    def verdict(self, row: int) -> Status:
        """Return the status of a row."""
        return _STATUSES[int(self.status[row])]

    def save(self, path: Path) -> None:
        """Write the table as a compressed file without code."""
        head = {
            "format": _FORMAT,
            "task": self.task,
            "device": self.device,
            "about": dict(self.about),
            "knobs": [{"name": k.name, "domain": list(k.domain), "ordered": k.ordered} for k in self.knobs],
            "default": list(self.default),
            "statuses": [str(status) for status in _STATUSES],
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"trait.{name}": values for name, values in self.traits.items()}
        np.savez_compressed(path, head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a table. Raises UserError if the file is not one, or has another format."""
        try:
            with np.load(path, allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                arrays = {name: file[name] for name in file.files if name != "head"}
        except FileNotFoundError as error:
            known = ", ".join(sorted(shipped())) or "none"
            raise UserError(f"{path}: no such table; shipped: {known}") from error
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a table of kernels; `kernelevolve tabulate` writes them") from error
        if head["format"] != _FORMAT:
            raise UserError(f"{path}: format {head['format']}, this version reads {_FORMAT}: tabulate it again")
        codes = np.array([_STATUSES.index(Status(name)) for name in head["statuses"]], dtype=np.uint8)
        arrays["status"] = codes[arrays["status"]]
        return cls(
            task=head["task"],
            device=head["device"],
            about=head["about"],
            knobs=tuple(Knob(k["name"], tuple(k["domain"]), k["ordered"]) for k in head["knobs"]),
            default=tuple(head["default"]),
            traits={name[6:]: values for name, values in arrays.items() if name.startswith("trait.")},
            **{name: arrays[name] for name in _ARRAYS},
        )


_ARRAYS: Sequence[str] = ("row_of", "place", "status", "speedup", "deviation", "seconds")


def code_of(status: Status) -> int:
    """Return the number of a status in `Table.status`."""
    return _STATUSES.index(status)


def shipped() -> dict[str, Path]:
    """Return the shipped tables by name."""
    return {path.stem: path for path in SHIPPED.glob("*.npz")}


def path_of(name: str) -> Path:
    """Return the path of a shipped table, or `name` itself as a path."""
    return shipped().get(name, Path(name))
