"""Naming many tasks at once: names, groups, patterns, and files with names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.tasks.catalog import full_name, list_tasks, members_of

_WILD = re.compile(r"[*?\[]")


def select_tasks(text: str) -> tuple[str, ...]:
    """Return the names of the tasks that a text selects, each once, in the order of the text.

    Args:
        text: Words with commas between them. A word is the name of a task, a task file, a group (`dlrm`, a folder,
            `kernelbench:level1`), a pattern (`dlrm/*norm*`), or `@FILE`: a file with a word in each line, where empty
            lines and lines that begin with `#` count for nothing.

    Raises:
        UserError: A word selects nothing.
    """
    chosen = dict.fromkeys(name for word in text.split(",") for name in _expanded(word.strip()))
    if not chosen:
        raise UserError("which tasks? Give tasks=NAME,GROUP,PATTERN,@FILE; `kernelevolve tasks list` shows them")
    return tuple(chosen)


def _expanded(word: str) -> Iterator[str]:
    if not word:
        return
    if word.startswith("@"):
        for line in _lines(Path(word[1:]).expanduser()):
            if line.startswith("@"):
                raise UserError(f"{word}: {line}: a file of names cannot name another one")
            yield from _expanded(line)
        return
    if _WILD.search(word) and not Path(word).exists():
        yield from _matching(word)
        return
    members = members_of(word)
    if members is not None:
        if not members:
            raise UserError(f"'{word}' holds no tasks")
        yield from (member.name for member in members)
    else:
        yield full_name(word)


def _lines(path: Path) -> Sequence[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"@{path}: the file of names cannot be read ({reason})") from error
    return [line for line in lines if line and not line.startswith("#")]


def _matching(pattern: str) -> Iterator[str]:
    """Yield the names of the tasks that a pattern fits, within the group that its text up to the last `/` or `:` names."""
    start = re.match(r"[^*?\[]*[/:]", pattern)
    members = (members_of(start[0]) or ()) if start else (*list_tasks(), *(members_of("./") or ()))
    names = [m.name for m in members if fnmatchcase(m.name, pattern) or fnmatchcase(m.name, f"./{pattern}")]
    if not names:
        group = f" {start[0]}" if start and members else ""
        raise UserError(f"no task fits '{pattern}'; `kernelevolve tasks list{group}` shows what there is")
    yield from names
