"""The source of kernels beside their reference: the task's file without its input functions, and a class that derives from `Model`."""

from __future__ import annotations

import io
import re
import textwrap
import tokenize
from collections.abc import Mapping, Sequence

import libcst as cst
import libcst.matchers as m

from devices.toolchains.loader import LOADER
from kernelevolve.core.errors import UserError
from kernelevolve.synthesis.traced.attributes import free_name

REFERENCE = "Model"
CANDIDATE = "ModelNew"
_TASK_FUNCTIONS = frozenset({"get_inputs", "get_init_inputs", "get_input_variants"})

LOADED_NAMES = frozenset(
    {"CPP_FLAGS", "CPP_SOURCE", "_LIBRARY", *re.findall(r"^(?:def|import) (\w+)", LOADER, re.MULTILINE)}
)
"""The names that a C++ kernel binds at the top of its file."""
_WORD = re.compile(r"\w+")

_Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


def model_new_source(
    task_source: str, forward_source: str, *, prelude: str = "", reserved: frozenset[str] = frozenset()
) -> str:
    """Return the source of a file that defines `ModelNew`, which derives from the `Model` of a task.

    The constructor is the reference's, and `super().forward` runs its operations. The functions that make inputs are left out, together
    with constants and functions that nothing else refers to.

    Args:
        task_source: The task's file.
        forward_source: Method definitions, indented or not. Without any, the result is a copy of the reference. Names of methods
            besides `forward` should begin with two underscores, so that they hide nothing of the reference.
        prelude: The text after the leading imports. Names of the task's file that it binds are renamed.
        reserved: Further names of the task's file that are renamed.

    Raises:
        UserError: `task_source` is no Python or binds no `Model`.
        libcst.ParserSyntaxError: `forward_source` or `prelude` is no Python.
    """
    try:
        module = cst.parse_module(task_source)
    except cst.ParserSyntaxError as error:
        raise UserError(f"the task's source is no valid Python (line {error.raw_line}): mend it") from error
    methods = cst.parse_module(textwrap.dedent(forward_source)).body
    before = cst.parse_module(prelude).body
    used_by_prelude = _names(before)
    module = _yielding(module, reserved.union(*map(_bound, before)))
    body = [statement for statement in module.body if not _is_task_only(statement)]
    if not any(_defines_reference(statement) for statement in body):
        raise UserError(f"the task's source defines no class `{REFERENCE}`: name the reference's class so")
    body.append(_derived(methods))
    body = _without_unused(body, used_by_prelude)
    at = _end_of_imports(body)
    head = module.with_changes(body=body[:at], footer=()).code
    tail = module.with_changes(body=body[at:], header=(), footer=()).code
    if prelude:
        head = head.rstrip("\n") + "\n\n" + prelude.strip("\n") + "\n\n\n"
        tail = tail.lstrip("\n")
    return head + tail


def _yielding(module: cst.Module, reserved: frozenset[str]) -> cst.Module:
    """Return the module with new names for what it binds under reserved names, except for modules that both import."""
    bound: set[str] = set()
    for statement in module.body:
        if isinstance(statement, cst.ClassDef | cst.FunctionDef):
            bound.add(statement.name.value)
        elif not m.matches(statement, m.SimpleStatementLine(body=[m.Import()])):
            bound |= _bound(statement)
    clashing = bound & reserved
    if not clashing:
        return module
    taken = frozenset(re.findall(r"\w+", module.code))
    renamed = {name: free_name(f"{name}_of_task", taken) for name in clashing}
    return cst.ensure_type(module.visit(_Rename(renamed)), cst.Module)


class _Rename(cst.CSTTransformer):
    """Renames some names. Attributes, keywords and imported names stay."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:  # noqa: N802
        del original_node
        return updated_node.with_changes(value=self._names.get(updated_node.value, updated_node.value))

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:  # noqa: N802
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:  # noqa: N802
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_ImportAlias(self, original_node: cst.ImportAlias, updated_node: cst.ImportAlias) -> cst.ImportAlias:  # noqa: N802
        name = original_node.evaluated_name
        if name not in self._names:
            return updated_node.with_changes(name=original_node.name)
        alias = updated_node.asname or cst.AsName(
            name=cst.Name(self._names[name]),
            whitespace_before_as=cst.SimpleWhitespace(" "),
            whitespace_after_as=cst.SimpleWhitespace(" "),
        )
        return updated_node.with_changes(name=original_node.name, asname=alias)


def _defines_reference(statement: _Statement) -> bool:
    if isinstance(statement, cst.ClassDef):
        return statement.name.value == REFERENCE
    if isinstance(statement, cst.SimpleStatementLine):
        return REFERENCE in _bound(statement)
    return any(isinstance(n, cst.ClassDef) and n.name.value == REFERENCE for n in m.findall(statement, m.ClassDef()))


def _derived(methods: Sequence[_Statement]) -> cst.ClassDef:
    owner = cst.ensure_type(cst.parse_statement(f"\n\nclass {CANDIDATE}({REFERENCE}):\n    pass\n"), cst.ClassDef)
    if not methods:
        return owner
    body = [
        method.with_changes(leading_lines=[cst.EmptyLine(indent=False)] if number else [])
        for number, method in enumerate(methods)
    ]
    return owner.with_changes(body=cst.IndentedBlock(body=body))


def _is_task_only(statement: _Statement) -> bool:
    if isinstance(statement, cst.FunctionDef):
        return statement.name.value in _TASK_FUNCTIONS
    main = m.Comparison(left=m.Name("__name__"), comparisons=[m.ComparisonTarget(operator=m.Equal())])
    return m.matches(statement, m.If(test=main))


def _names(nodes: Sequence[cst.CSTNode]) -> frozenset[str]:
    """Return every name below `nodes`, and every word of their strings, which may be annotations or `__all__`."""
    found: set[str] = set()
    for node in nodes:
        # Tokens are used because walking the tree of a large forward takes seconds.
        text = cst.Module(body=[]).code_for_node(node)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                found.add(token.string)
            elif token.type == tokenize.STRING:
                found.update(_WORD.findall(token.string))
    return frozenset(found)


def _bound(statement: _Statement) -> frozenset[str]:
    """Return the names that a statement binds, or none if it may have another effect."""
    if isinstance(statement, cst.FunctionDef) and not statement.decorators:
        return frozenset({statement.name.value})
    if isinstance(statement, cst.SimpleStatementLine):
        bound: set[str] = set()
        for small in statement.body:
            if isinstance(small, cst.Assign):
                if not all(isinstance(target.target, cst.Name | cst.Tuple) for target in small.targets):
                    return frozenset()
                bound |= _names([target.target for target in small.targets])
            elif isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name):
                bound.add(small.target.value)
            elif isinstance(small, cst.Import | cst.ImportFrom) and not isinstance(small.names, cst.ImportStar):
                for alias in small.names:
                    bound.add(alias.evaluated_alias or alias.evaluated_name.partition(".")[0])
            else:
                return frozenset()
        return frozenset(bound)
    return frozenset()


def _without_unused(body: Sequence[_Statement], used: frozenset[str]) -> list[_Statement]:
    """Return the statements without the constants and functions that nothing refers to. Imports and calls stay."""
    bound = [_bound(s) for s in body]
    bound = [frozenset() if b and _has_effect(s) else b for s, b in zip(body, bound, strict=True)]
    names = [_names([s]) for s in body]
    kept = list(range(len(body)))
    while True:
        rest = [i for i in kept if not bound[i] or bound[i] & used.union(*(names[j] for j in kept if j != i))]
        if len(rest) == len(kept):
            return [body[i] for i in kept]
        kept = rest


def _has_effect(statement: _Statement) -> bool:
    if isinstance(statement, cst.FunctionDef):
        return False
    return bool(m.findall(statement, m.Call() | m.Import() | m.ImportFrom()))


def _end_of_imports(body: Sequence[_Statement]) -> int:
    """Return the index of the first statement after the docstring and the leading imports."""
    leading = m.SimpleStatementLine(
        body=[m.Import() | m.ImportFrom() | m.Expr(m.SimpleString() | m.ConcatenatedString())]
    )
    return next((i for i, statement in enumerate(body) if not m.matches(statement, leading)), len(body))
