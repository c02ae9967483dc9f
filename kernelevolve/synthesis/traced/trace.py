"""Conversion of a PyTorch module to the traced form, through torch.export and core ATen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch.export.graph_signature import InputKind, OutputKind

from kernelevolve.synthesis.traced.assumptions import condition_text, conditions, ranges
from kernelevolve.synthesis.traced.attributes import attribute_text, find_tensor, free_name
from kernelevolve.synthesis.traced.builder import Builder, SizeError, UnsupportedError, cast
from kernelevolve.synthesis.traced.exporting import Exported, export_program
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexValue, Op, Size
from kernelevolve.synthesis.traced.lowering import LOWERINGS
from kernelevolve.synthesis.traced.lowering.call import Call, Result
from kernelevolve.synthesis.traced.lowering.complexes import PARTS, Complex, is_complex, lower_complex, of_pairs
from kernelevolve.synthesis.traced.program import Compute, LibraryCall, Output, Program, Role, Statement, reads
from kernelevolve.synthesis.traced.virtual import Virtual, dims_of

_MAX_CONSTANT = 65536
"""The greatest number of elements of a constant tensor in a program."""
_EXACT = 1 << 12
"""The greatest numerator and denominator of a fraction that multiplies sizes without rounding."""


def trace(model: torch.nn.Module, inputs: Sequence[Any], *, fixed: bool = False) -> Program:
    """Trace the program that `model.forward(*inputs)` computes.

    Args:
        model: The model, whose `forward` is changed as by `export_program`.
        inputs: The arguments of `forward`.
        fixed: Whether the program is for inputs of these shapes alone.

    Raises:
        UnsupportedError: The traced form lacks an operation, a mutation of state or a shape that depends on data. The
            message names it.
    """
    return _Lowering(export_program(model, inputs, fixed=fixed)).program()


_DTYPES = frozenset(
    (
        *("float16", "bfloat16", "float32", "float64", "bool"),
        *("uint8", "int8", "int16", "int32", "int64"),
    )
)


def _dtype(dtype: torch.dtype, complexes: bool = False) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES and not (complexes and name in PARTS):
        raise UnsupportedError("complex numbers" if dtype.is_complex else f"numbers of {dtype}")
    return name


class _Lowering:
    """The state of lowering an exported graph to a program."""

    def __init__(self, exported: Exported) -> None:
        self.exported = exported.program
        self.given = exported.inputs
        self.model = exported.model
        self.signature, self.returned = exported.arguments, exported.returned
        self.builder = Builder()
        self.symbols: dict[sympy.Symbol, sympy.Symbol] = {}
        self.numbers: dict[sympy.Symbol, Expr] = {}
        """The symbols of floats that are read from tensors, with their expressions."""
        self.sizes: dict[str, tuple[str, int]] = {}
        self.hints: dict[str, int] = {}
        self.values: dict[torch.fx.Node, Any] = {}
        self.input_shapes: dict[str, tuple[Size, ...]] = {}
        self.argument_names: list[str | None] = []
        self.arguments: dict[str, str] = {}
        """The input buffer of each placeholder of the graph."""

    def program(self) -> Program:
        graph = self.exported.graph_module.graph
        specs = {spec.arg.name: spec for spec in self.exported.graph_signature.input_specs}
        self._name_sizes([n for n in graph.nodes if n.op == "placeholder" and _is_input(specs[n.name])])
        position = 0
        for node in graph.nodes:
            if node.op == "placeholder":
                spec = specs[node.name]
                self._placeholder(node, spec, position)
                position += _is_input(spec)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "get_attr":
                raise UnsupportedError("a submodule in the graph (control flow)")
            elif node.op == "output":
                return self._finish(node)
        raise AssertionError("a graph without an output")

    def _name_sizes(self, inputs: Sequence[torch.fx.Node]) -> None:
        """Name the sizes that are dimensions of inputs. A dimension may depend on one of a later input."""
        for position, node in enumerate(inputs):
            value = node.meta.get("val")
            for d, extent in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
                if isinstance(extent, torch.SymInt) and isinstance(extent.node.expr, sympy.Symbol):
                    self._symbol(extent.node.expr, f"x{position}", d, int(self.given[position].shape[d]))

    def _placeholder(self, node: torch.fx.Node, spec: Any, position: int) -> None:
        value = node.meta.get("val")
        if spec.kind is InputKind.USER_INPUT:
            if not isinstance(value, torch.Tensor):
                self.values[node] = spec.arg.value if hasattr(spec.arg, "value") else value
                self.argument_names.append(None)
                return
            name = f"x{position}"
            self.argument_names.append(name)
            self.arguments[node.name] = name
            shape = [self._size(extent) for extent in value.shape]
            self.input_shapes[name] = tuple(shape)
            self.values[node] = self.builder.source(shape, _dtype(value.dtype), Role.INPUT, name)
            return
        if not isinstance(value, torch.Tensor):
            raise UnsupportedError(f"what the module holds under {spec.target}, which is no tensor")
        shape = [sympy.Integer(int(s)) for s in value.shape]
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            self.values[node] = self._held(shape, value.dtype, spec.target, attribute_text(spec.target))
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            tensor = self.exported.constants[spec.target]
            place = find_tensor(self.model, tensor)
            if place is not None:
                self.values[node] = self._held(shape, tensor.dtype, spec.target, place)
                return
            if tensor.numel() > _MAX_CONSTANT:
                raise UnsupportedError(f"a constant tensor of {tensor.numel()} elements")
            name = free_name(
                "c_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in spec.target), self.builder.buffers
            )
            flat = tensor.detach().reshape(-1).tolist()
            self.values[node] = self.builder.constant(shape, _dtype(tensor.dtype), flat, name)
        else:
            raise UnsupportedError(f"what the module holds under {spec.target} ({spec.kind.name.lower()})")

    def _held(self, shape: Sequence[Size], dtype: torch.dtype, target: str, attribute: str) -> Virtual | Complex:
        """Add a source buffer for a tensor that the module holds."""
        name = free_name(
            "w_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in target), self.builder.buffers
        )
        if (parts := PARTS.get(_dtype(dtype, complexes=True))) is None:
            return self.builder.source(shape, _dtype(dtype), Role.PARAMETER, name, attribute)
        pairs = f"torch.view_as_real({attribute})"
        return of_pairs(self.builder.source((*shape, sympy.Integer(2)), parts, Role.PARAMETER, name, pairs))

    def _symbol(self, symbol: sympy.Symbol, name: str, dim: int, hint: int) -> None:
        if symbol not in self.symbols:
            fresh = sympy.Symbol(f"s{len(self.symbols)}", integer=True, positive=True)
            self.symbols[symbol] = fresh
            self.sizes[fresh.name] = (name, dim)
            self.hints[fresh.name] = hint

    def _size(self, extent: Any) -> Size:
        if isinstance(extent, torch.SymInt):
            return self._symbolic(extent.node.expr)
        return sympy.Integer(int(extent))

    def _symbolic(self, expr: Any) -> Size:
        if isinstance(expr, sympy.Symbol):
            if expr not in self.symbols:
                raise UnsupportedError("a size that depends on data")
            return self.symbols[expr]
        if isinstance(expr, sympy.Integer):
            return expr
        if type(expr).__name__ in ("TruncToInt", "FloorToInt"):
            return sympy.floor(self._multiple(expr.args[0]))
        if type(expr).__name__ == "CeilToInt":
            return -sympy.floor(-self._multiple(expr.args[0]))
        parts = [self._symbolic(a) for a in expr.args]
        if isinstance(expr, sympy.Add):
            return sympy.Add(*parts)
        if isinstance(expr, sympy.Mul):
            return sympy.Mul(*parts)
        if isinstance(expr, sympy.Pow) and isinstance(parts[1], sympy.Integer) and parts[1] > 0:
            return parts[0] ** parts[1]
        name = type(expr).__name__
        if name in ("FloorDiv", "CleanDiv"):
            return sympy.floor(parts[0] / parts[1])
        if name in ("Mod", "PythonMod"):
            return sympy.Mod(parts[0], parts[1])
        raise SizeError(f"a size with {name}")

    def _multiple(self, expr: Any) -> Size:
        """Convert a float that is a size, a quotient of sizes, or such a value times floats that do not round it."""
        name = type(expr).__name__
        if name == "ToFloat":
            return self._symbolic(expr.args[0])
        if isinstance(expr, sympy.Float | sympy.Integer):
            exact = sympy.Rational(float(expr))
            if exact.q <= _EXACT and 0 < exact.p <= _EXACT:
                return exact
        if name == "IntTrueDiv":
            return self._symbolic(expr.args[0]) / self._symbolic(expr.args[1])
        if isinstance(expr, sympy.Mul) or name == "Mul":
            return sympy.Mul(*(self._multiple(a) for a in expr.args))
        raise SizeError(f"a size that is a rounded {name}")

    def _number(self, expr: Any) -> Expr:
        """Convert a float that is computed from sizes to an expression of dtype float64."""
        name = type(expr).__name__
        if expr in self.numbers:
            return self.numbers[expr]
        if isinstance(expr, sympy.Float | sympy.Integer | sympy.Rational):
            return Const(float(expr), "float64")
        if name == "ToFloat":
            return self._number(expr.args[0])
        if expr.is_integer and name != "IntTrueDiv":
            return cast(IndexValue(self._symbolic(expr)), "float64")
        if name == "OpaqueUnaryFn_sqrt":
            return Op("sqrt", (self._number(expr.args[0]),), "float64")
        names = {
            "FloatTrueDiv": "div",
            "IntTrueDiv": "div",
            "FloatPow": "pow",
            "Mul": "mul",
            "Add": "add",
            "Pow": "pow",
        }
        if name not in names:
            raise SizeError(f"a number computed from sizes with {name}")
        first, *rest = (self._number(a) for a in expr.args)
        for part in rest:
            first = Op(names[name], (first, part), "float64")
        return first

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, torch.fx.Node):
            return self.values[argument]
        if isinstance(argument, list | tuple):
            return [self._value(a) for a in argument]
        if isinstance(argument, torch.dtype):
            return _dtype(argument, complexes=True)
        return argument

    def _call(self, node: torch.fx.Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt | int) and not isinstance(value, bool):
            return self._size(value)
        if isinstance(value, torch.SymFloat):
            if "_local_scalar_dense" in str(node.target):
                self.numbers[value.node.expr] = cast(self.values[node.args[0]].at(()), "float64")
            return self._number(value.node.expr)
        if isinstance(value, torch.SymBool):
            raise SizeError("a condition on sizes")
        name = str(node.target)
        if "getitem" in name:
            return self.values[node.args[0]][node.args[1]]
        if value is None:
            return None
        results = tuple(
            Result(tuple(self._size(s) for s in v.shape), _dtype(v.dtype, complexes=True))
            for v in (value if isinstance(value, list | tuple) else [value])
            if isinstance(v, torch.Tensor)
        )
        kwargs = {k: self._value(v) for k, v in node.kwargs.items()}
        call = Call(self.builder, name, tuple(self._value(a) for a in node.args), kwargs, results)
        if is_complex(call):
            return lower_complex(call)
        lowering = LOWERINGS.get(name)
        if name.startswith("aten.as_strided") and not node.args[0].meta["val"].is_contiguous():
            raise UnsupportedError("as_strided of a tensor that is not contiguous")
        if lowering is None:
            drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
            raise UnsupportedError(f"{'random numbers' if drawn else 'the operation'} {name}")
        return lowering(call)

    def _finish(self, node: torch.fx.Node) -> Program:
        outputs: list[Output] = []
        results: list[int | Size] = []
        for argument, spec in zip(node.args[0], self.exported.graph_signature.output_specs, strict=True):
            v, meta = self._value(argument), argument.meta["val"] if isinstance(argument, torch.fx.Node) else argument
            attribute, written = self._target(spec)
            if isinstance(v, Virtual) and isinstance(meta, torch.Tensor):
                shape = tuple(self._size(s) for s in meta.shape)
                if not (attribute or written):
                    results.append(len(outputs))
                outputs.append(self._output(v, shape, _dtype(meta.dtype), len(outputs), (attribute, written)))
            elif isinstance(v, Complex):
                raise UnsupportedError("a result of complex numbers")
            elif isinstance(v, sympy.Expr):
                results.append(v)
            else:
                raise UnsupportedError("a result that is neither a tensor nor a size")
        b = self.builder
        statements = _needed(tuple(b.statements), {o.buffer for o in outputs})
        used = {o.buffer for o in outputs} | {r for s in _expanded(statements) for r in (*reads(s), s.buffer)}
        buffers = {n: buf for n, buf in b.buffers.items() if n in used or buf.role is Role.INPUT}
        return Program(
            buffers=buffers,
            statements=statements,
            inputs=tuple(self.argument_names),
            outputs=tuple(outputs),
            arguments=self.signature,
            fixed={f"x{i}": x for i, x in enumerate(self.given) if not isinstance(x, torch.Tensor)},
            returned=self.returned,
            results=tuple(results),
            sizes=self.sizes,
            hints=self.hints,
            input_shapes=self.input_shapes,
            constants={n: v for n, v in b.constants.items() if n in used},
            ranges=ranges(self.exported, self.symbols),
            conditions=tuple(
                dict.fromkeys((*conditions(self.exported, self.symbols), *map(condition_text, b.conditions)))
            ),
        )

    def _target(self, spec: Any) -> tuple[str, str]:
        """Return the attribute and the argument that a result is written back to, each empty if it is not."""
        match spec.kind:
            case OutputKind.USER_OUTPUT:
                return "", ""
            case OutputKind.BUFFER_MUTATION:
                return attribute_text(spec.target), ""
            case OutputKind.USER_INPUT_MUTATION:
                return "", self.arguments[spec.target]
            case _:
                raise UnsupportedError(f"a reference that changes state ({spec.kind.name.lower()} {spec.target})")

    def _output(
        self, v: Virtual, shape: tuple[Size, ...], dtype: str, position: int, target: tuple[str, str]
    ) -> Output:
        b = self.builder
        name = f"y{position}"
        dims = tuple(d if d or s == 1 else dims_of([s])[0] for d, s in zip(v.dims, shape, strict=True))
        axes = b.axes([a for d in dims for a in d])
        made = b.buffer([a.extent for a in axes], dtype, Role.OUTPUT, name)
        b.statements.append(Compute(made.name, axes, v.at(tuple(a.symbol for a in axes)), "output"))
        return Output(name, shape, dtype, *target)


def _is_input(spec: Any) -> bool:
    return bool(spec.kind is InputKind.USER_INPUT)


def _expanded(statements: Sequence[Statement]) -> list[Statement]:
    """Return the statements and the expansions of library calls."""
    return [t for s in statements for t in ((s, *s.expansion) if isinstance(s, LibraryCall) else (s,))]


def _needed(statements: tuple[Any, ...], wanted: set[str]) -> tuple[Any, ...]:
    """Return the statements whose results are used."""
    live = set(wanted)
    kept = []
    for statement in reversed(statements):
        if statement.buffer in live:
            kept.append(statement)
            live |= set(reads(statement))
    return tuple(reversed(kept))
