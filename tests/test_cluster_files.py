"""The cluster files are what their readers take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from kernelevolve import config
from kernelevolve.tasks.catalog import find_task

FOLDER = Path(__file__).parents[1] / "scripts" / "cluster"


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_the_launchers_file_fits_rays_schema() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    found = load("aws.yaml")
    jsonschema.validate(found, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "max_worker": 3}, schema)
    kinds = found["available_node_types"]
    assert found["head_node_type"] in kinds
    assert len({kind["node_config"]["InstanceType"] for kind in kinds.values()}) == 1, "judges are of one kind"


def test_the_job_on_kubernetes_is_a_run_that_can_be_started() -> None:
    found = load("kuberay.yaml")
    program, *words = found["spec"]["entrypoint"].split()
    assert [program, *words[:3]] == ["python", "-m", "kernelevolve", "run"]
    settings = config.load(words[3:])
    assert find_task(settings.task)
    cluster = found["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        [container] = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["resources"]["requests"] == container["resources"]["limits"], "whole cores"
