"""Every kernel of a space of knobs with what judging it found, as one small file."""

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


@dataclass(frozen=True, eq=False)
class Table:
    """A space of knobs, and one row for each kernel that is written in it: several points may be one kernel."""

    task: str
    device: str
    about: Mapping[str, Any]
    """How it came about: hardware, versions, settings."""
    knobs: tuple[Knob, ...]
    default: tuple[int, ...]
    """The operator's own choice: for each knob a place in its domain."""
    row_of: np.ndarray
    """(values of the first knob, of the second, ...) int32: the row of each point."""
    place: np.ndarray
    """(rows, knobs) int16: the values of a kernel's knobs, -1 where it has no such knob."""
    status: np.ndarray
    """(rows,) uint8: places in `Status`."""
    speedup: np.ndarray
    """(rows,) float32: over eager; 0 where it is not correct."""
    deviation: np.ndarray
    """(rows,) float32: standard deviation of one more measurement of the search's kind, as a share of the speedup."""
    seconds: np.ndarray
    """(rows,) float32: that compiling and judging took."""
    traits: Mapping[str, np.ndarray]
    """(rows,) float32 each."""

    def __len__(self) -> int:
        """Kernels."""
        return len(self.speedup)

    @property
    def best(self) -> float:
        return float(self.speedup.max())

    @cached_property
    def default_point(self) -> dict[str, KnobValue]:
        return {knob.name: knob.domain[at] for knob, at in zip(self.knobs, self.default, strict=True)}

    @cached_property
    def _ways(self) -> list[tuple[str, dict[KnobValue, int], int]]:
        """Of each knob: its name, how far along `row_of` each value is, and how far the default."""
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
        """Of each row."""
        found: list[tuple[Mapping[str, KnobValue], Space]] = []
        for places in self.place.tolist():
            has = [(knob, at) for knob, at in zip(self.knobs, places, strict=True) if at >= 0]
            found.append(({knob.name: knob.domain[at] for knob, at in has}, {knob.name: knob for knob, _ in has}))
        return found

    def row(self, point: Mapping[str, KnobValue]) -> int:
        """The kernel that is written at a point; the default holds for knobs that it does not name."""
        at = 0
        for name, ways, default in self._ways:
            at += ways[point[name]] if name in point else default
        return self._flat[at]

    def point(self, row: int) -> Mapping[str, KnobValue]:
        """The knobs that a kernel has."""
        return self._around[row][0]

    def space(self, row: int) -> Space:
        """Around a kernel: of the knobs that it has."""
        return self._around[row][1]

    def verdict(self, row: int) -> Status:
        return _STATUSES[int(self.status[row])]

    def save(self, path: Path) -> None:
        """Compressed; nothing in it is code."""
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
        """Raises UserError where the file is none, or of another format."""
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
    """As `Table.status` holds it."""
    return _STATUSES.index(status)


def shipped() -> dict[str, Path]:
    """The tables that come with this package, by name."""
    return {path.stem: path for path in SHIPPED.glob("*.npz")}


def path_of(name: str) -> Path:
    """Of a shipped table by its name, or else the file that is named so."""
    return shipped().get(name, Path(name))
