"""Which parameters are computed from others by a constructor."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from evaluators.correctness.reference.derived_parameters import derived_parameters


class _Holder(nn.Module):
    """A module that holds tensors as its parameters p0, p1, and so on."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_parameter(f"p{i}", tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor))


def _doubled() -> nn.Module:
    first = nn.Parameter(torch.randn(4))
    return _Holder(first, first.detach() * 2)


def _through_two_temporaries() -> nn.Module:
    first = nn.Parameter(torch.randn(4, 4))
    norms = first.detach().norm(dim=0)
    largest = norms.max()
    return _Holder(first, torch.rand(4) * largest)


def _written_in_place() -> nn.Module:
    first, second = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))
    with torch.no_grad():
        second.add_(first)
    return _Holder(first, second)


def _drawn_again() -> nn.Module:
    first, second = nn.Parameter(torch.randn(4)), nn.Parameter(torch.empty(4))
    second.data.copy_(first)
    nn.init.normal_(second)
    return _Holder(first, second)


def _shapes_alone() -> nn.Module:
    first = nn.Parameter(torch.randn(4))
    return _Holder(first, torch.randn_like(first), torch.zeros_like(first), first.new_ones(4), torch.rand(first.shape))


def _tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


def _copies_of_one_that_is_dropped() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)


def _conditional() -> nn.Module:
    first = nn.Parameter(torch.randn(4))
    with torch.no_grad():
        taken = torch.cond(first.sum() > 0, lambda x: x + 1, lambda x: x - 1, (first.detach(),))
    return _Holder(first, taken.detach().clone())


NONE: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(4, 4),
    lambda: nn.LSTM(4, 4, 2),
    lambda: nn.MultiheadAttention(8, 2),
    lambda: nn.TransformerEncoderLayer(8, 2, 16),
    lambda: nn.Embedding(8, 4, padding_idx=0),
    lambda: nn.utils.spectral_norm(nn.Linear(4, 4)),
    lambda: _Holder(nn.init.trunc_normal_(torch.empty(4, 4))),
    lambda: _Holder(nn.init.orthogonal_(nn.Parameter(torch.empty(4, 4))), nn.init.sparse_(torch.empty(4, 4), 0.5)),
    _drawn_again,
    _shapes_alone,
    _tied,
]


@pytest.mark.parametrize("build", NONE)
def test_parameters_that_are_drawn_on_their_own_are_not_derived(build: Callable[[], nn.Module]) -> None:
    assert derived_parameters(build)[1] == set()


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (_doubled, {"p1"}),
        (_through_two_temporaries, {"p1"}),
        (_written_in_place, {"p1"}),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
            {"parametrizations.weight.original0"},
        ),
        (lambda: nn.Sequential(*[copy.deepcopy(nn.Linear(4, 4))] * 2), set()),
    ],
)
def test_parameters_that_are_computed_from_others_are_derived(build: Callable[[], nn.Module], names: set[str]) -> None:
    assert derived_parameters(build)[1] == names


def test_the_first_copy_of_a_dropped_parameter_is_not_derived() -> None:
    model, names = derived_parameters(_copies_of_one_that_is_dropped)
    assert names == {name for name, _ in model.named_parameters() if name.startswith("layers.1.")}


def test_a_constructor_that_cannot_be_observed_builds_its_model_all_the_same() -> None:
    torch.manual_seed(3)
    model, _ = derived_parameters(_conditional)
    assert {name for name, _ in model.named_parameters()} == {"p0", "p1"}


def test_following_the_values_does_not_change_them() -> None:
    torch.manual_seed(3)
    plain = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)).state_dict()
    torch.manual_seed(3)
    model, _ = derived_parameters(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    assert plain.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.items())
