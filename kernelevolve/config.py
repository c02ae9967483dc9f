"""The settings of a run.

Hydra composes them from `conf/`, which holds the defaults, and `key=value` overrides; pydantic checks them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator

from devices.registry import further_entries, load_device
from evaluators.settings import EvaluationSettings
from islands.settings import IslandSettings
from kernelevolve.cluster import ClusterSettings
from kernelevolve.core.budget import Budget
from kernelevolve.core.component import Component, defaults, keys, nearest, refusal
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.llm.settings import LlmSettings

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from hydra.internal.config_loader_impl import ConfigLoaderImpl

PATH_KEYS = ("task", "tasks", "run.dir", "sweep.dir")
"""The keys whose values are names or paths, which may hold characters that Hydra would interpret."""
_PRIMARY = "config"
"""The name of the configuration of a run in `conf/`."""
MISSING = "???"
"""The value of a setting that has no default."""


class RunSettings(Record):
    """The places that a run writes to."""

    dir: str | None
    """The folder of the run; None: a new one below `runs/`."""
    store: str | None
    """A folder with the graphs of several runs; None: the graph lies in the run's folder."""


class FinalSettings(Record):
    """The choice of the winner after the search."""

    candidates: int = Field(ge=1, le=64)
    """The number of kernels that are measured again."""
    compile: bool
    """Whether torch.compile is measured as well."""


class RunConfig(Record):
    """All settings of a run."""

    task: str = Field(min_length=1)
    """The name or the path of the task."""
    device: Component
    seed: int = Field(ge=0, lt=2**63)
    """The seed of all random choices of the search."""
    run: RunSettings
    final: FinalSettings
    search: Component
    """The strategy of all islands, unless `strategies` names others."""
    strategies: tuple[Component, ...]
    """The strategies of the islands, assigned in turn; empty: all islands use `search`."""
    islands: IslandSettings
    operator: Component
    llm: LlmSettings | None
    """The settings of models; None: the run asks no model."""
    evaluation: EvaluationSettings
    budget: Budget
    cluster: ClusterSettings

    @field_validator("llm", mode="before")
    @classmethod
    def _nothing_is_none(cls, value: Any) -> Any:
        return value or None

    def island_strategies(self) -> list[Component]:
        """Return the strategy of each island."""
        chosen = self.strategies or (self.search,)
        return [chosen[island % len(chosen)] for island in range(self.islands.count)]


def config_dir() -> Path:
    """Return the folder `conf/` of the checkout or of the installed package."""
    for folder in (Path(__file__).parent / "conf", Path(__file__).parent.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no conf/config.yaml beside or inside of {Path(__file__).parent}: the installation is damaged"
    )


def compose(overrides: Sequence[str], primary: str = _PRIMARY) -> dict[str, Any]:
    """Compose the configuration.

    Args:
        overrides: Overrides in Hydra's grammar: `key=value`, `group=option`, `+key=value`, `~key`.
        primary: The name of the file in `conf/` that is composed.

    Returns:
        The settings as plain data. A setting without a value is `???`.

    Raises:
        UserError: An override is illegal. The message names the key and the nearest valid one.
    """
    with _loader() as loader:
        parsed = _parse(loader, _quoted(overrides, every=True))
        for override in parsed:
            if override.is_sweep_override():
                raise UserError(f"{override.input_line} names several values: `kernelevolve run -m` runs each of them")
        return _compose(loader, parsed, primary)


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Expand overrides with several values (`seed=0,1`, `seed=range(0,5)`).

    Returns:
        The overrides of one run for each combination of values.

    Raises:
        UserError: An override is illegal.
    """
    with _loader() as loader:
        choices: list[list[str]] = []
        for override in _parse(loader, _quoted(overrides, every=False)):
            if not override.is_sweep_override():
                choices.append([override.input_line or ""])
            elif override.is_discrete_sweep():
                key = override.get_key_element()
                choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                raise UserError(
                    f"{override.input_line}: a continuous range cannot be listed; write choice(...) or range(...)"
                )
        jobs = [list(job) for job in itertools.product(*choices)]
        for job in jobs:
            _compose(loader, _parse(loader, job))
        return jobs


def load(overrides: Sequence[str], **values: Any) -> RunConfig:
    """Compose and check the settings of a run.

    Args:
        overrides: Overrides in Hydra's grammar.
        **values: Top-level settings that replace the composed ones unchanged.

    Raises:
        UserError: A setting is illegal.
    """
    return check({**compose(overrides), **values})


def check(composed: Mapping[str, Any]) -> RunConfig:
    """Validate plain data. Raises UserError that names the first illegal key."""
    if composed.get("task") == MISSING:
        raise UserError("which task? Give task=NAME_OR_FILE; `kernelevolve tasks list` shows the shipped ones")
    for key in _missing(composed):
        raise UserError(f"{key} has no value: write {key}=...")
    try:
        config = RunConfig.model_validate(composed)
    except ValidationError as error:
        raise refusal(error, "", composed) from error
    for strategy in config.island_strategies():
        strategy.resolve("search")
    config.device.resolve("device")
    _check_models(config)
    return config


def _missing(composed: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of the settings that have no value."""
    for name, value in composed.items():
        if value == MISSING:
            yield prefix + name
        elif isinstance(value, Mapping):
            yield from _missing(value, f"{prefix}{name}.")


def _check_models(config: RunConfig) -> None:
    """Raise UserError if an operator needs models and none are set, or if models are set and the operator asks none."""
    asks = config.operator.resolve("operator").needs_models
    if asks and config.llm is None:
        raise UserError("this operator asks a model: say which, as in llm=openai llm.models=[NAME]")
    if config.llm is not None:
        config.llm.backend.resolve("llm.backend")
        if not asks:
            raise UserError("llm: this operator asks no model; operator=llm does")


def dump(config: RunConfig) -> dict[str, Any]:
    """Return the settings as plain data that `check` accepts."""
    return config.model_dump(mode="json", by_alias=True)


def _quoted(overrides: Sequence[str], every: bool) -> list[str]:
    """Quote paths, whose characters may have a meaning to Hydra: all of them, or only those that exist as written."""
    result = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key in PATH_KEYS and value and value[0] not in "'\"" and (every or Path(value).exists()):
            escaped = value.replace("\\", "\\\\").replace("'", "\\'") if "'" in value else value
            result.append(f"{key}='{escaped}'")
        else:
            result.append(override)
    return result


@contextmanager
def _loader() -> Iterator[ConfigLoaderImpl]:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(config_dir=str(config_dir().resolve()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def _parse(loader: ConfigLoaderImpl, overrides: Sequence[str]) -> list[Override]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create(config_loader=loader)
    parsed = []
    for text in overrides:
        if "=" not in text and not text.startswith("~"):
            raise UserError(f"{text!r} is no setting: write key=value")
        try:
            parsed.append(parser.parse_override(text))
        except HydraException as error:
            raise UserError(
                f"cannot read {text!r}: write key=value, and quote values with special characters"
            ) from error
    return parsed


def _compose(loader: ConfigLoaderImpl, overrides: Sequence[Override], primary: str = _PRIMARY) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    groups = loader.list_groups("")
    overrides, mixed = _mixed(loader, overrides)
    _offer_devices(loader, overrides)
    chosen, rest = [], []
    for override in overrides:
        if override.key_or_group not in groups:
            rest.append(override)
            continue
        options = loader.get_group_options(override.key_or_group)
        if override.value() not in options:
            text = override.input_line
            raise UserError(f"{text}: there is no such option; {override.key_or_group} is one of {', '.join(options)}")
        chosen.append(override)
    known = _settings_of(tuple(o.input_line or "" for o in chosen), primary)
    for override in rest:
        key = override.key_or_group
        if not (override.is_add() or override.is_force_add()) and key not in known:
            raise UserError(f"there is no setting {key}{nearest(key, known)}")
    try:
        composed = hydra_compose(primary, overrides=[override.input_line or "" for override in overrides])
        container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(" ".join(str(error).split())) from error
    assert isinstance(container, dict)
    found = {str(name): value for name, value in container.items()}
    if mixed:
        found["strategies"] = [_compose(loader, _parse(loader, [f"search={name}"]))["search"] for name in mixed]
        if not any(override.key_or_group == "islands.count" for override in overrides):
            found["islands"]["count"] = len(mixed)
    return found


def _offer_devices(loader: ConfigLoaderImpl, overrides: Sequence[Override]) -> None:
    """Make devices of other packages options of the group `device`, with the defaults of their classes, if one may be meant."""
    from hydra.core.config_store import ConfigStore

    named = {str(override.value()) for override in overrides if override.key_or_group == "device"}
    if named <= set(loader.get_group_options("device")):
        return
    for entry in further_entries():
        found = type(load_device(entry)) if entry.name in named else None
        node = {"_target_": f"{entry.module}.{entry.attr}", **(defaults(found) if found else {})}
        ConfigStore.instance().store(group="device", name=entry.name, node=node)


@lru_cache(maxsize=64)
def _settings_of(chosen: tuple[str, ...], primary: str) -> tuple[str, ...]:
    """Return the dotted keys of all settings of a configuration that exist with these options of groups."""
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    base = OmegaConf.to_container(hydra_compose(primary, overrides=list(chosen)), resolve=False)
    assert isinstance(base, dict)
    return tuple(keys({str(name): value for name, value in base.items()}))


def _mixed(loader: ConfigLoaderImpl, overrides: Sequence[Override]) -> tuple[list[Override], list[str]]:
    """Split off `islands=[mcts,evolutionary]`, which names the strategy of each island instead of an option of a group.

    Returns:
        The other overrides, and the names of the strategies.
    """
    lists = [o for o in overrides if o.key_or_group == "islands" and isinstance(o.value(), list)]
    names = [str(name) for o in lists[-1:] for name in o.value()]
    options = loader.get_group_options("search")
    for name in names:
        if name not in options:
            raise UserError(f"islands: there is no strategy {name}; they are {', '.join(options)}")
    if lists and not names:
        raise UserError("islands=[]: name the strategy of each island, as in islands=[mcts,evolutionary]")
    return [o for o in overrides if o not in lists], names
