"""PyTorch's own compute, switched off: what a task's rule forbids raises, whoever calls it, from whichever thread, in whatever mode.

It is done at the dispatcher. For each forbidden operator an implementation that raises takes the place of the kernels of the CPU and of
the composite ones, so there is nothing below that a mode, a thread, an autograd function, TorchScript or `torch.ops` could reach. What
is made of operators is forbidden as well, unless its parts are what decides: a verdict then names what the kernel has called.

Operators are told apart by their schemas and tags where these say enough (a view returns an alias of its input; `inplace_view`;
`view_copy`), by the lists below where not. An operator that neither knows is forbidden: a new version of torch opens nothing.
"""

from __future__ import annotations

import ctypes
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any, Never

import torch

from kernelevolve.core.task import AllowAten


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYS = ("CPU", "SparseCPU", "SparseCsrCPU", "MkldnnCPU", "QuantizedCPU", "NestedTensorCPU")
_COMPOSITE = ("CompositeExplicitAutograd", "CompositeImplicitAutograd")
"""Kernels of structured operators (CompositeExplicitAutogradNonFunctional) call their out-variants, which are forbidden themselves."""
_FOREIGN = _names("mkl mkldnn mkldnn_prepacked onednn prepacked quantization quantized _quantized sparse xnnpack")
"""Further namespaces of torch with kernels of their own. Those of a candidate's own extensions stay free."""

_ALLOCATION = _names("empty empty_like empty_permuted empty_strided new_empty new_empty_strided resize _resize_output_")
_VIEWS = _names(
    """
    atleast_1d atleast_2d atleast_3d broadcast_tensors lift meshgrid type_as unflatten_dense_tensors unsafe_chunk unsafe_split
    unsafe_split_with_sizes _unsafe_view
    """
)
"""Whose schemas do not say so; `type_as` is one where nothing is to be done, and else calls what is forbidden."""
_LAZY = _names("_conj _conj_copy _neg_view _neg_view_copy")
"""Views by their schemas, but arithmetic: a copy of one negates."""
_METADATA = _names(
    """
    dense_dim _dimI _dimV _has_same_storage_numel is_coalesced is_pinned is_same_size is_set_to _nnz q_per_channel_axis q_scale
    q_zero_point qscheme requires_grad_ sparse_dim sym_constrain_range sym_constrain_range_for_size _assert_tensor_metadata
    """
)
_MOVEMENT = _names(
    """
    arange eye fill fill_ fill_diagonal_ full full_like new_full new_ones new_zeros ones ones_like scalar_tensor zero zero_ zeros
    zeros_like

    _cast_Byte _cast_Char _cast_Double _cast_Float _cast_Half _cast_Int _cast_Long _cast_Short chalf _to_copy _to_cpu

    clone copy copy_ _copy_from _foreach_copy _foreach_copy_ _foreach_clone _foreach_zero _foreach_zero_ lift_fresh_copy
    _local_scalar_dense pin_memory _pin_memory resize_as set_data

    block_diag cat _cat concat concatenate column_stack _chunk_cat dstack flatten_dense_tensors hstack row_stack stack _stack vstack

    constant_pad_nd pad _pad_circular _pad_enum pad_sequence reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d

    as_strided_scatter channel_shuffle diag diag_embed diagflat diagonal_scatter flip fliplr flipud im2col native_channel_shuffle
    pixel_shuffle pixel_unshuffle roll rot90 select_scatter slice_scatter
    """
)
"""Filling; casting; copying; joining; padding; rearranging. No arithmetic on elements, no place that depends on a value.
`repeat` and `tile` are not among them, since they add on the way: a copy of what is expanded does the same."""

_DOORS = (
    "_dispatch_get_computed_kernel_for_dispatch_key",
    "_SafeKernelFunction",
    "_jit_to_static_module",
    "_fuse_to_static_module",
    "StaticModule",
)
"""Of `torch._C`: what hands out kernels as they were before, or calls them without the dispatcher."""
_SIGN = re.compile(r"\w+::[\w.]+: PyTorch's own compute, which this task forbids \(allow_aten: \w+\)")


class ForbiddenComputeError(RuntimeError):
    """An operator was called that the task's rule forbids."""


@cache
def kernels() -> tuple[tuple[str, str, AllowAten], ...]:
    """(dispatch key, operator with its overload, the strictest rule that leaves it) of every kernel that some rule takes away.

    Takes some ten milliseconds once, so a fork server has it ready for its children.
    """
    return tuple(_kernels())


def computes(name: str) -> bool:
    """Whether an operator (`aten::add.Tensor`) reads or writes elements."""
    return _strictest(name, "CPU") is not AllowAten.NONE


def shut_doors() -> None:
    """Before foreign code is loaded: what it could keep to get round the rule goes."""
    for name in _DOORS:
        with suppress(AttributeError):
            delattr(torch._C, name)


def enforce(rule: AllowAten) -> None:
    """From now on, in this process, what `rule` forbids raises ForbiddenComputeError. Nothing takes that back: call it once."""
    libraries: dict[str, Any] = {}
    with warnings.catch_warnings():
        # That kernels are overridden is the purpose.
        warnings.simplefilter("ignore")
        for key, name, strictest in kernels():
            if rule is AllowAten.ALL or strictest is rule:
                continue
            space = name.partition("::")[0]
            if space not in libraries:
                libraries[space] = torch._C._dispatch_library("IMPL", space, "", __file__, 0)
            libraries[space].impl(name, key, partial(_refuse, name, rule.value))
    for library in libraries.values():
        # A registration lasts as long as its library: this one is kept for ever, and no name in Python leads to it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))


def in_force() -> bool:
    """Whether compute raises in this process. Only as good as the process: code that has torn down the rule may forge this as well."""
    x = torch.empty(1, 1)
    for probe in (torch.ops.aten.mm.default, torch.ops.aten.mul.Tensor, torch.ops.aten.add_.Tensor):
        try:
            probe(x, x)
        except ForbiddenComputeError:
            continue
        return False
    return True


def named_in(error: BaseException) -> str | None:
    """What is forbidden and was called, one line; None where `error` has another cause.

    Looks at what an error was raised from too, and at its text: C++ and TorchScript pass on no more of it.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        try:
            found = _SIGN.search(str(current))
        except Exception:  # noqa: BLE001 - foreign code's own words for its errors
            found = None
        if found:
            return found.group(0)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return None


def _refuse(name: str, rule: str, *_: Any, **__: Any) -> Never:
    raise ForbiddenComputeError(f"{name}: PyTorch's own compute, which this task forbids (allow_aten: {rule})")


def _kernels() -> Iterator[tuple[str, str, AllowAten]]:
    for key in (*_KEYS, *_COMPOSITE):
        for name in torch._C._dispatch_get_registrations_for_dispatch_key(key):
            space = name.partition("::")[0]
            if space in _FOREIGN:
                yield key, name, AllowAten.ALL
            elif space == "aten":
                strictest = _strictest(name, key)
                if strictest is not AllowAten.NONE:
                    yield key, name, strictest


def _strictest(name: str, key: str) -> AllowAten:
    """The rule that leaves an operator of ATen where those that are stricter do not."""
    base, _, overload = name.removeprefix("aten::").partition(".")
    if base in _LAZY:
        return AllowAten.ALL
    if base in _ALLOCATION or base in _VIEWS or base in _METADATA:
        return AllowAten.NONE
    schema = torch._C._get_schema(f"aten::{base}", overload)
    if schema.returns and all(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns):
        return AllowAten.NONE
    # A composite that returns numbers asks for metadata, or for elements by way of an operator with a kernel.
    if key == "CompositeImplicitAutograd" and not any("Tensor" in str(value.type) for value in schema.returns):
        return AllowAten.NONE
    tags = torch._C._get_operation_overload(f"aten::{base}", overload)[2]
    if torch.Tag.inplace_view in tags:
        return AllowAten.NONE
    if key == "CompositeExplicitAutograd" and torch.Tag.generated in tags:
        return AllowAten.NONE  # It calls the functional variant, then copies: both are judged by themselves.
    return AllowAten.HELPERS if base in _MOVEMENT or torch.Tag.view_copy in tags else AllowAten.ALL
