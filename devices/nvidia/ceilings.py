"""Prints the rates that this machine's NVIDIA GPU reaches, as JSON: `python -m devices.nvidia.ceilings`."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from devices.nvidia.device import NvidiaDevice
from kernelevolve.core.errors import InfrastructureError, UserError


def main() -> int:
    """Measure and print. Returns the exit code: 2 where there is no usable GPU."""
    try:
        found = NvidiaDevice().ceilings(nullcontext())
    except (UserError, InfrastructureError) as error:
        print(error, file=sys.stderr)
        return 2
    assert found is not None
    print(found.model_dump_json(indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
