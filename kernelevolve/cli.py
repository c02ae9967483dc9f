"""The command line: dispatches to the commands, and reports a user's mistake as one line with exit code 2.

This module imports nothing heavy. The module of a command is imported when that command is called.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from kernelevolve import __version__
from kernelevolve.core.errors import UserError

COMMANDS = {
    "run": "evolve a task's operator into a faster kernel",
    "sweep": "evolve kernels for many tasks, and print one table",
    "resume": "continue a run that was interrupted",
    "measure": "measure the best kernels of a finished run again",
    "graph": "inspect a run: the best kernels, and the lineage of a kernel",
    "compare": "compare searches: curves and tables over many runs",
    "tabulate": "measure a whole space of kernels once",
    "replay": "compare searches on such a table, at thousands of kernels per second",
    "evaluate": "evaluate kernel files",
    "tasks": "list tasks and groups of them, or show one",
    "doctor": "show what this machine has, and what to install for the rest",
}
INTERRUPTED = 130

USAGE = f"""usage: kernelevolve COMMAND ...

Evolves an operator written in PyTorch into a kernel that is proven correct and measurably faster.

commands:
{chr(10).join(f"  {name:10} {text}" for name, text in COMMANDS.items())}

options:
  -h, --help  show this, or with a command its own help
  --version   show the version

example: kernelevolve run task=dlrm/rmsnorm_residual_silu budget.seconds=60"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; those of the process by default.

    Returns:
        The exit code: 0 for success, 1 for a run without a correct kernel, 2 for a mistake of the user, which is
        reported in one line on stderr, and 130 for an interrupt.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _terminable():
            return _dispatch(arguments)
    except UserError as error:
        return _report_error(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        return _report_error(f"the disk is full{where}: free some space, then `kernelevolve resume` continues the run")
    except KeyboardInterrupt:
        _report_error("interrupted")
        return INTERRUPTED
    except Exception as error:
        message = _lost_process(error)
        if not message:
            raise
        return _report_error(message)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM, which schedulers send, into KeyboardInterrupt. Outside of the main thread this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _lost_process(error: Exception) -> str:
    """Return a message if a process or machine was lost, and "" for an error that a process raised."""
    if type(error).__module__ != "ray.exceptions":  # Do not import Ray for commands that do not use it.
        return ""
    from ray.exceptions import RayError, RayTaskError

    from kernelevolve.remote import death_message

    if isinstance(error, RayTaskError) or not isinstance(error, RayError):
        return ""
    return death_message("a process of this run", "and cannot be replaced", error)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"kernelevolve {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(COMMANDS)}"
        raise UserError(f"there is no command {name!r}: {hint}")
    command = importlib.import_module(f"kernelevolve.commands.{name}")
    result: int = command.main(rest)
    return result


def _report_error(message: str) -> int:
    print(f"kernelevolve: {' '.join(message.split())}", file=sys.stderr)
    return 2
