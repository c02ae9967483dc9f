"""The prompt templates, which users can replace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from devices.languages import LANGUAGES
from kernelevolve.core.errors import UserError

SHIPPED = Path(__file__).parent / "templates"
SYSTEM, REQUEST, CORRECTION, AGENT = "system.md.j2", "request.md.j2", "correction.md.j2", "agent.md.j2"
KNOWN = {
    SYSTEM: {"task", "facts", "device", "hardware", "language", "form"},
    REQUEST: {"move", "parents", "best", "tried", "failed", "examples", "documents", "angle", "diagnosis", "form"},
    CORRECTION: {"reason", "form"},
    AGENT: {"steps", "evaluations", "protocol", "parents"},
}
"""The variables of each template. Their types are in `views.py`."""


class Templates:
    """The shipped templates, with those of a user's folder in their place. Pickling includes the texts."""

    def __init__(self, folder: str | None) -> None:
        """Load the templates.

        Args:
            folder: A folder with templates that replace shipped ones of the same name; None for none.

        Raises:
            UserError: The folder is missing, or a template cannot be read or uses an unknown variable.
        """
        if folder and not Path(folder).is_dir():
            raise UserError(f"operator.templates={folder}: there is no such folder")
        self._texts = {path.name: path.read_text() for path in SHIPPED.glob("*.j2")}
        self._texts |= {f"language_{language.name}.md.j2": language.prompt() for language in LANGUAGES}
        self._environment = _environment(self._texts)
        if folder:
            self._check(Path(folder))

    def __getstate__(self) -> dict[str, str]:
        return self._texts

    def __setstate__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._environment = _environment(texts)

    def _check(self, folder: Path) -> None:
        names = [path.name for path in sorted(folder.glob("*.j2"))]
        unexpected = set(names) - set(self._texts)
        if not names or unexpected:
            known = ", ".join(sorted(self._texts))
            raise UserError(f"{folder}: {', '.join(sorted(unexpected)) or 'no file'} is none of the templates {known}")
        for name in names:
            try:
                self._texts[name] = (folder / name).read_text()
                tree = self._environment.parse(self._texts[name])
            except (TemplateSyntaxError, OSError, UnicodeDecodeError) as error:
                line = getattr(error, "lineno", None)
                raise UserError(f"{folder / name}{f', line {line}' if line else ''}: {error}") from error
            known_here = KNOWN.get(name, set.union(*KNOWN.values()))
            unknown = sorted(find_undeclared_variables(tree) - known_here)
            if unknown:
                raise UserError(
                    f"{folder / name}: there is no variable {unknown[0]}; there are {', '.join(sorted(known_here))}"
                )

    def render(self, name: str, variables: Mapping[str, Any]) -> str:
        """Render a template.

        Raises:
            UserError: The template uses an attribute that a variable lacks, or includes an unknown template.
        """
        try:
            return self._environment.get_template(name).render(**variables).strip() + "\n"
        except TemplateNotFound as error:
            raise UserError(f"{name} includes the template {error.name}, which does not exist") from error
        except TemplateError as error:
            raise UserError(f"{name}: {error}") from error


def _environment(texts: Mapping[str, str]) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=DictLoader(texts),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,
    )
