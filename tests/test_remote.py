"""Actors stand by while another process of their machine measures; the driver does not."""

from __future__ import annotations

import os

import pytest
import ray

from kernelevolve.core.bystanders import bystanders
from kernelevolve.remote import stand_by

pytestmark = pytest.mark.usefixtures("ray_cluster")


class Actor:
    def __init__(self) -> None:
        stand_by()

    def pid(self) -> int:
        return os.getpid()

    def sees(self, pid: int) -> bool:
        return pid in [each.pid for each in bystanders()]


def test_an_actor_stands_by_and_the_driver_does_not() -> None:
    first, second = (ray.remote(Actor).options(num_cpus=0).remote() for _ in range(2))
    pid = ray.get(first.pid.remote())
    stand_by()
    assert ray.get(second.sees.remote(pid))
    assert not ray.get(second.sees.remote(os.getpid()))
    ray.kill(first)
    ray.kill(second)
