"""What keeps candidates apart on this machine: rows of `kernelevolve doctor`."""

from __future__ import annotations

import os
import sys

from devices.base import Capability


def isolation() -> tuple[Capability, ...]:
    linux = sys.platform == "linux"
    pidfd = hasattr(os, "pidfd_open")
    return (
        Capability(
            name="process group",
            available=linux and pidfd,
            detail="each candidate in a session of its own, killed with everything that descends from it"
            if linux and pidfd
            else "needs Linux 5.3 or newer",
        ),
        Capability(name="limits", available=linux, detail="memory, processor time, file size, no core dumps"),
        Capability(name="environment", available=True, detail="scrubbed: keys do not reach a candidate"),
        Capability(name="privileges", available=linux, detail="none gained: no-new-privileges is set"),
    )
