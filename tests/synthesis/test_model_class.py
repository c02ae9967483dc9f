"""`model_new_source`: what stays, what goes, and that the result runs with the reference's weights."""

from __future__ import annotations

import pytest
import torch

from kernelevolve.core.errors import UserError
from kernelevolve.synthesis.builtin.model_class import model_new_source

TASK = '''"""A task."""
from __future__ import annotations
import torch
import torch.nn as nn

BATCH = 4
WIDTH = 8
UNUSED = WIDTH * 2


class Base(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return self.linear(x)


def helper(x):
    return x * 2


class Model(Base):
    """Says what."""

    def __init__(self, width: int = WIDTH):
        super(Model, self).__init__(width)
        self.Model = 3

    @staticmethod
    def other():
        return Model

    def forward(self, x):
        return helper(super().forward(x))


def get_inputs():
    return [torch.randn(BATCH, WIDTH)]


def get_init_inputs():
    return []


def get_input_variants():
    return {}


if __name__ == "__main__":
    print(Model()(*get_inputs()))
'''


def _load(source: str) -> dict[str, object]:
    namespace: dict[str, object] = {"__name__": "kernel"}
    exec(compile(source, "kernel.py", "exec"), namespace)
    return namespace


def test_the_result_has_the_references_weights_and_the_given_forward() -> None:
    source = model_new_source(TASK, "def forward(self, x):\n    return SCALE * self.linear(x)", prelude="SCALE = 3.0\n")
    theirs, ours = _load(TASK), _load(source)
    torch.manual_seed(1)
    reference = theirs["Model"]()
    torch.manual_seed(1)
    candidate = ours["ModelNew"]()
    x = torch.randn(4, 8)
    torch.testing.assert_close(candidate(x), 1.5 * reference(x))
    assert candidate.Model == 3
    assert candidate.other() is ours["Model"]
    torch.testing.assert_close(ours["Model"].forward(candidate, x), reference(x))


def test_what_only_makes_inputs_is_gone_and_what_the_constructor_needs_stays() -> None:
    ours = _load(model_new_source(TASK, "    def forward(self, x):\n        return x\n"))
    assert not {"get_inputs", "get_init_inputs", "get_input_variants", "BATCH", "UNUSED"} & set(ours)
    assert ours["WIDTH"] == 8
    assert "helper" in ours, "the reference's own forward needs it"


def test_the_prelude_stands_behind_the_imports_so_that_future_imports_stay_first() -> None:
    source = model_new_source(TASK, "def forward(self, x):\n    return x\n", prelude="import os\nMARK = os.sep\n")
    assert source.index("import torch.nn as nn") < source.index("MARK") < source.index("WIDTH = 8")
    assert _load(source)["MARK"] == "/"


def test_methods_beside_forward_hide_nothing_of_the_references() -> None:
    own = "def _twice(self, x):\n        return 3 * x\n    def forward(self, x):\n        return self._twice(x)"
    task = f"import torch\nclass Model(torch.nn.Module):\n    {own}\n"
    forward = "def forward(self, x):\n    return self.__twice(x) + super().forward(x)\n\ndef __twice(self, x):\n    return x + x\n"
    model = _load(model_new_source(task, forward))["ModelNew"]()
    assert model(torch.ones(2)).tolist() == [5.0, 5.0]


def test_without_methods_it_is_a_copy_of_the_reference() -> None:
    theirs, ours = _load(TASK), _load(model_new_source(TASK, ""))
    torch.manual_seed(1)
    reference = theirs["Model"]()
    torch.manual_seed(1)
    x = torch.randn(4, 8)
    torch.manual_seed(1)
    torch.testing.assert_close(ours["ModelNew"]()(x), reference(x))


def test_a_model_that_is_an_alias_is_derived_from() -> None:
    task = "import torch\nModel = torch.nn.Identity\ndef get_inputs():\n    return []\n"
    assert (
        _load(model_new_source(task, "def forward(self, x):\n    return x + 1\n"))["ModelNew"]()(torch.zeros(1)).item()
        == 1
    )


@pytest.mark.parametrize(("source", "part"), [("def f(:\n", "no valid Python"), ("x = 1\n", "no class `Model`")])
def test_a_task_that_cannot_serve_gets_one_line(source: str, part: str) -> None:
    with pytest.raises(UserError, match=part) as caught:
        model_new_source(source, "def forward(self):\n    return 1\n")
    assert "\n" not in str(caught.value)
