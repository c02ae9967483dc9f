"""The settings of a sweep over many tasks."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, ValidationError

from kernelevolve import config
from kernelevolve.config import RunConfig
from kernelevolve.core.component import refusal
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record

_PRIMARY = "sweep"
"""The name of the configuration in `conf/`."""
_OF_EACH = {
    "task": "a sweep takes tasks=NAME,GROUP,PATTERN",
    "run.dir": "each run of a sweep has its own folder below sweep.dir",
}
"""Settings of a run that the sweep chooses itself -> what to write instead."""


class SweepSettings(Record):
    """The configuration section `sweep`."""

    dir: str = Field(min_length=1)
    """The folder of the sweep."""
    at_a_time: int = Field(ge=1, le=1024)
    """The number of tasks that are worked on beside each other."""
    retry: bool
    """Whether tasks that ended without a correct kernel are begun again."""
    patience: float = Field(gt=0)
    """The seconds that a run may take beyond its budget."""


class SweepConfig(Record):
    """All settings of a sweep."""

    tasks: str
    """The words that select the tasks."""
    sweep: SweepSettings
    run: RunConfig
    """The settings of each run; its task is empty of meaning."""
    overrides: tuple[str, ...]
    """The overrides that each run gets."""


def load(overrides: Sequence[str]) -> SweepConfig:
    """Compose and check the settings of a sweep.

    Args:
        overrides: Overrides in Hydra's grammar, those of the runs among them.

    Raises:
        UserError: A setting is illegal, has no value, or is one that the sweep chooses itself.
    """
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    for key in keys:
        if key in _OF_EACH:
            raise UserError(f"{key}: {_OF_EACH[key]}")
    composed = config.compose(overrides, primary=_PRIMARY)
    tasks, section = composed.pop("tasks"), composed.pop("sweep")
    if tasks == config.MISSING:
        raise UserError("which tasks? Give tasks=NAME,GROUP,PATTERN,@FILE; `kernelevolve tasks list` shows them")
    if section["dir"] == config.MISSING:
        raise UserError(
            "which folder? Give sweep.dir=FOLDER; the same command with the same folder goes on with a sweep"
        )
    try:
        settings = SweepSettings.model_validate(section)
    except ValidationError as error:
        raise refusal(error, "sweep", section) from error
    run = config.check({**composed, "task": str(tasks)})
    own = [text for text, key in zip(overrides, keys, strict=True) if key != "tasks" and not key.startswith("sweep.")]
    return SweepConfig(tasks=str(tasks), sweep=settings, run=run, overrides=tuple(own))
