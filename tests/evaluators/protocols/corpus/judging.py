"""The settings that the corpus is judged with: those of a search, with limits fit for small tasks."""

from __future__ import annotations

from pathlib import Path

import yaml

from devices.cpu import CpuDevice
from evaluators.runtime.base import Runtime
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.task import Task

_DEFAULTS = Path(__file__).parents[4] / "conf" / "evaluation" / "default.yaml"
_RUN_SECONDS = 3.0
_MEMORY_GB = 2.0
_TIMING_SECONDS = 0.15


def corpus_settings() -> EvaluationSettings:
    """The defaults, with shorter limits."""
    plain = yaml.safe_load(_DEFAULTS.read_text())
    timing = {**plain["timing"], "max_seconds": _TIMING_SECONDS}
    return EvaluationSettings.model_validate(
        {**plain, "run_timeout": _RUN_SECONDS, "memory_gb": _MEMORY_GB, "timing": timing}
    )


def open_judge(task: Task, runtime: Runtime | None = None) -> Pipeline:
    """A pipeline for one task of the corpus; `close` it. `runtime`: of the corpus's settings, that pipelines share."""
    return Pipeline(task, CpuDevice(), corpus_settings(), runtime=runtime)
