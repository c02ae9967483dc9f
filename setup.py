"""What pyproject.toml cannot say: `conf/` lies beside the packages in a checkout and inside of one when installed."""

import tomllib
from pathlib import Path

from setuptools import find_packages, setup

with Path(__file__).with_name("pyproject.toml").open("rb") as file:
    PACKAGES = tomllib.load(file)["tool"]["importlinter"]["root_packages"]

setup(
    packages=[
        *find_packages(include=[f"{name}{rest}" for name in PACKAGES for rest in ("", ".*")]),
        "kernelevolve.conf",
    ],
    package_dir={"kernelevolve.conf": "conf"},
    package_data={
        "kernelevolve.conf": ["*.yaml", "*/*.yaml", "*/*/*.yaml"],
        "devices.languages": ["*.md"],
        "knowledge": ["library/**/*.md"],
        "kernelevolve.tasks": ["**/*.py"],
        "kernelevolve.synthesis.universal": ["templates/*"],
        "kernelevolve.experiments.tabular": ["tables/*.npz"],
    },
)
