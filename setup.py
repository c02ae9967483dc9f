"""What pyproject.toml cannot say: `conf/` lies beside the packages in a checkout and inside of one when installed."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(
            include=[
                f"{name}{rest}" for name in ("kernelevolve", "islands", "evaluators", "devices") for rest in ("", ".*")
            ]
        ),
        "kernelevolve.conf",
    ],
    package_dir={"kernelevolve.conf": "conf"},
    package_data={
        "kernelevolve.conf": ["*.yaml", "*/*.yaml", "*/*/*.yaml"],
        "devices.languages": ["*.md"],
        "kernelevolve.tasks": ["**/*.py"],
        "kernelevolve.synthesis.universal": ["templates/*"],
        "kernelevolve.experiments.tabular": ["tables/*.npz"],
    },
)
