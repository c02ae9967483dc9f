"""Runs a command that is killed when the process that started it ends: `python -m kernelevolve.core.tied PID COMMAND ...`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to the process PID, its parent, and become the command."""
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the process that this command belongs to has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
