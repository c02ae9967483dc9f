"""Disables the PyTorch operators that a task forbids in a process: calling one raises, from every thread and in every mode.

The operators are disabled in the dispatcher. For each forbidden operator, an implementation that raises replaces the CPU kernels and the
composite kernels, so modes, threads, autograd functions, TorchScript and `torch.ops` cannot reach the originals. Composite operators are
disabled as well, so that the error names the operator that the kernel called; a few are left to the operators that they are made of.

Operators are classified by their schemas and tags where these suffice (a view returns an alias of its input; `inplace_view`;
`view_copy`), and otherwise by the lists below. An operator that fits none of these is forbidden, so a new version of torch cannot
introduce an operator that is allowed by accident.
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


_KEYS = (
    *("CPU", "SparseCPU", "SparseCsrCPU", "MkldnnCPU", "QuantizedCPU", "NestedTensorCPU"),
    *("CUDA", "SparseCUDA", "SparseCsrCUDA", "QuantizedCUDA", "NestedTensorCUDA"),
)
"""The dispatch keys whose kernels compute on the CPU or on a GPU. ROCm's are those of CUDA."""
_COMPOSITE = ("CompositeExplicitAutograd", "CompositeImplicitAutograd")
"""CompositeExplicitAutogradNonFunctional is not listed: its kernels call the operators' out-variants, which are disabled themselves."""
_FOREIGN = _names("mkl mkldnn mkldnn_prepacked onednn prepacked quantization quantized _quantized sparse xnnpack")
"""The further namespaces of torch that have kernels. The namespaces of a candidate's own extensions are not restricted."""

_ALLOCATION = _names("empty empty_like empty_permuted empty_strided new_empty new_empty_strided resize _resize_output_")
"""The operators that allocate memory and write nothing to it."""
_VIEWS = _names(
    """
    atleast_1d atleast_2d atleast_3d broadcast_tensors lift meshgrid type_as unflatten_dense_tensors unsafe_chunk unsafe_split
    unsafe_split_with_sizes _unsafe_view
    """
)
"""The views whose schemas do not show it. `type_as` returns its input if the dtypes agree, and calls a forbidden operator otherwise."""
_LAZY = _names("_conj _conj_copy _neg_view _neg_view_copy")
"""The operators that are views by their schemas but lead to arithmetic: copying such a view negates its elements."""
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
"""The operators that fill, cast, copy, join, pad or rearrange. They do no arithmetic on elements, and no index depends on a value.
`repeat` and `tile` are not listed because their implementations add; a copy of an expanded tensor does the same."""

_DOORS = (
    "_dispatch_get_computed_kernel_for_dispatch_key",
    "_SafeKernelFunction",
    "_jit_to_static_module",
    "_fuse_to_static_module",
    "StaticModule",
)
"""The attributes of `torch._C` that return the original kernels or call them without the dispatcher."""
_SIGN = re.compile(r"\w+::[\w.]+: PyTorch's own compute, which this task forbids \(allow_aten: \w+\)")
"""The pattern by which the error of a forbidden operator is recognized in a text."""


class ForbiddenComputeError(RuntimeError):
    """An operator was called that the task forbids."""


@cache
def kernels() -> tuple[tuple[str, str, AllowAten], ...]:
    """Return every registered kernel that some rule disables.

    The first call takes some ten milliseconds, so a fork server makes it before it forks.

    Returns:
        For each kernel: its dispatch key, its operator with the overload, and the strictest rule that allows it.
    """
    return tuple(_kernels())


def computes(name: str) -> bool:
    """Return whether an operator, such as `aten::add.Tensor`, reads or writes elements."""
    return _strictest(name, "CPU") is not AllowAten.NONE


def remove_bypasses() -> None:
    """Remove the attributes of torch by which code could get round the rule. Call this before foreign code is loaded."""
    for name in _DOORS:
        with suppress(AttributeError):
            delattr(torch._C, name)


def enforce(rule: AllowAten) -> None:
    """Make every operator that `rule` forbids raise ForbiddenComputeError in this process from now on.

    Call it once: it cannot be undone.
    """
    libraries: dict[str, Any] = {}
    with warnings.catch_warnings():
        # torch warns about overridden kernels, and overriding them is the purpose.
        warnings.simplefilter("ignore")
        for key, name, strictest in kernels():
            if rule is AllowAten.ALL or strictest is rule:
                continue
            space = name.partition("::")[0]
            if space not in libraries:
                libraries[space] = torch._C._dispatch_library("IMPL", space, "", __file__, 0)
            libraries[space].impl(name, key, partial(_refuse, name, rule.value))
    for library in libraries.values():
        # A registration lasts as long as its library object. The extra reference keeps it alive without a name that code could delete.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))


def in_force(device: str = "cpu") -> bool:
    """Return whether arithmetic operators raise in this process, for tensors on a type of device.

    The process itself answers, so this does not detect code that has undone the rule and also forges the answer.
    """
    x = torch.empty(1, 1, device=device)
    for probe in (torch.ops.aten.mm.default, torch.ops.aten.mul.Tensor, torch.ops.aten.add_.Tensor):
        try:
            probe(x, x)
        except ForbiddenComputeError:
            continue
        return False
    return True


def named_in(error: BaseException) -> str | None:
    """Return one line that names the forbidden operator that caused `error`, or None if it has another cause.

    The texts of the error and of its causes are searched, because C++ and TorchScript pass on only the text.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        try:
            found = _SIGN.search(str(current))
        except Exception:  # noqa: BLE001 - foreign code defines how its errors are formatted
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
    """Return the strictest rule that allows an operator of ATen."""
    base, _, overload = name.removeprefix("aten::").partition(".")
    if base in _LAZY:
        return AllowAten.ALL
    if base in _ALLOCATION or base in _VIEWS or base in _METADATA:
        return AllowAten.NONE
    schema = torch._C._get_schema(f"aten::{base}", overload)
    if schema.returns and all(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns):
        return AllowAten.NONE
    # A composite operator that returns numbers reads metadata, or reads elements through an operator that has a kernel of its own.
    if key == "CompositeImplicitAutograd" and not any("Tensor" in str(value.type) for value in schema.returns):
        return AllowAten.NONE
    tags = torch._C._get_operation_overload(f"aten::{base}", overload)[2]
    if torch.Tag.inplace_view in tags:
        return AllowAten.NONE
    if key == "CompositeExplicitAutograd" and torch.Tag.generated in tags:
        return AllowAten.NONE  # It calls the functional variant and then copies: the rule applies to each of the two.
    return AllowAten.HELPERS if base in _MOVEMENT or torch.Tag.view_copy in tags else AllowAten.ALL
