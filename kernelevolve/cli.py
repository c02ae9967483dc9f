"""The command line: finds the command, and turns what a user got wrong into one line and exit code 2.

Imports nothing heavy: each command's module is imported when that command is called.
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
    "resume": "go on with a run that was interrupted",
    "measure": "measure the best kernels of a finished run again",
    "graph": "look into a run: the best, and where a kernel comes from",
    "compare": "which search is better: curves and tables over many runs",
    "tabulate": "measure a whole space of kernels once",
    "replay": "compare searches on such a table, thousands of kernels a second",
    "evaluate": "judge kernel files",
    "tasks": "list the shipped tasks, or show one",
    "doctor": "what this machine has, and what to install for the rest",
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
    """Run one command. Returns the exit code: 0 done, 2 a user's mistake (one line on stderr), 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _terminable():
            return _dispatch(arguments)
    except UserError as error:
        return _complain(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        return _complain(f"the disk is full{where}: free some space, then `kernelevolve resume` goes on with the run")
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        lost = _lost_process(error)
        if not lost:
            raise
        return _complain(lost)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which schedulers send, is an interrupt from the first import on. Outside of the main thread nothing happens."""
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
    """A line where a process of ours, or the machine that it was on, is gone; empty for anything that one of them raised."""
    if type(error).__module__ != "ray.exceptions":  # Ray itself is imported by those who use it.
        return ""
    from ray.exceptions import RayError, RayTaskError

    from kernelevolve.remote import died

    if isinstance(error, RayTaskError) or not isinstance(error, RayError):
        return ""
    return died("a process of this run", "for which there is no other", error)


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


def _complain(message: str) -> int:
    print(f"kernelevolve: {' '.join(message.split())}", file=sys.stderr)
    return 2
