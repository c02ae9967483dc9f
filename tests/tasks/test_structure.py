"""Arguments and results as leaves and a structure, and which inputs are refused."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import draw_inputs, flat_inputs, load_module
from kernelevolve.tasks.structure import Structure, described, flatten, rebuild

Pair = namedtuple("Pair", "left right")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda parts: (
        st.lists(parts)
        | st.lists(parts).map(tuple)
        | st.dictionaries(st.text() | st.integers(), parts)
        | st.builds(Pair, parts, parts)
    ),
)


@given(VALUES)
def test_a_structure_survives_as_json(value: Any) -> None:
    leaves, structure = flatten(value)
    read = Structure.model_validate(json.loads(json.dumps(structure.model_dump())))
    again = rebuild(read, json.loads(json.dumps(leaves)), {"Pair": Pair})
    assert again == value
    assert repr(again) == repr(value)  # Types and the order of keys are what they were.
    assert len(structure.paths()) == len(leaves) == structure.leaves


def test_named_tuples_that_are_not_known_are_made() -> None:
    leaves, structure = flatten([Pair(1, 2)])
    (again,) = rebuild(structure, leaves)
    assert (type(again).__name__, again.left, again.right) == ("Pair", 1, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(1), "tensor"),
        ({"b": torch.zeros(1), "a": 1}, "dict('a': int, 'b': tensor)"),
        (OrderedDict(a=None), "dict('a': None)"),
        ((torch.zeros(1), torch.zeros(1)), "tuple(2 x tensor)"),
        ([torch.zeros(1), True, 1.5], "list(tensor, bool, float)"),
        (Pair(torch.zeros(1), "x"), "Pair(left: tensor, right: str)"),
        (torch.zeros(2).max(0), "tuple(2 x tensor)"),
    ],
)
def test_a_structure_in_one_line(value: Any, text: str) -> None:
    leaves, structure = flatten(value, by_key=True)
    assert described(structure, leaves) == text


def _task(inputs: str) -> Task:
    return Task(
        name="small",
        source=f"import torch\n\n\nclass Mine(torch.Tensor):\n    pass\n\n\nclass Model(torch.nn.Module):\n    pass\n\n\n"
        f"def get_inputs():\n    return {inputs}\n",
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("[{1, 2}]", "input 0 is a set: only tensors, numbers"),
        ("[[1, object()]]", "input 0[1] is a object: only"),
        ("[Mine]", "input 0 is a "),
        ("[{2.0: 1}]", "input 0 is a dict with the key 2.0: use text"),
        ("[1, torch.eye(4).to_sparse()]", "input 1 is sparse (layout torch.sparse_coo): pass its indices and values"),
        ("[torch.eye(4).to_sparse_csr()]", "input 0 is sparse (layout torch.sparse_csr): pass its crow_indices"),
        ("[{'a': torch.empty(3, device='meta')}]", "input 0['a'] is a meta tensor, without values: pass one that"),
        ("[torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)]", "input 0 is quantised (torch.qint8)"),
        ("[torch.nested.nested_tensor([torch.randn(2), torch.randn(3)])]", "input 0 is a nested tensor: pass"),
        ("[torch.randn(3).as_subclass(Mine)]", "input 0 is a Mine, a subclass of torch.Tensor: pass plain tensors"),
        ("[torch.zeros(3, dtype=torch.complex32)]", "input 0 is of torch.complex32, which does not travel"),
        ("torch.zeros(3)", "get_inputs must return a list, not Tensor"),
        ("exit(3)", "get_inputs() ends the process (exit code 3): remove the exit, and parse no command line"),
        ("[torch.zeros(3, device='cuda')]", "(tasks run on the CPU: leave .cuda() and device='cuda' out)"),
    ],
)
def test_inputs_that_cannot_be_given_are_refused_in_one_line(inputs: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        draw_inputs(load_module(_task(inputs)), 0)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_leaves_of_inputs_lie_in_the_order_of_arguments() -> None:
    loaded = load_module(_task("[{'b': 1, 'a': [2, 3]}, 4]"))
    leaves, structure = flat_inputs(loaded, draw_inputs(loaded, 0))
    assert leaves == [1, 2, 3, 4]
    assert structure.paths() == ["[0]['b']", "[0]['a'][0]", "[0]['a'][1]", "[1]"]
