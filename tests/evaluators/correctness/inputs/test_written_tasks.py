"""Tasks of many kinds: what is free in each, and that derived inputs are legal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch

from evaluators.correctness.inputs import DerivedInputs, InputSettings, derived_cases
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import load_module

pytestmark = pytest.mark.thorough


class Written(NamedTuple):
    name: str
    init: str
    forward: str
    """With its signature, such as `x, y: return x + y`."""
    inputs: str
    legal: Callable[[Sequence[Any]], bool]
    free: frozenset[tuple[int, int]]
    """(input, dimension) of those that hidden shapes change."""
    variants: str = ""
    values: bool = True
    """Some distribution of values applies."""

    def task(self) -> Task:
        arguments, body = self.forward.split(": ", 1)
        lines = [
            *("import torch", "from torch import nn", "from torch.nn import functional as F", ""),
            *("class Model(nn.Module):", "    def __init__(self):", "        super().__init__()"),
            *(f"        {line}" for line in self.init.splitlines() or ["pass"]),
            f"    def forward(self, {arguments}):" if arguments else "    def forward(self):",
            *(f"        {line}" for line in body.splitlines()),
            *("def draw(b=96, l=24):", *(f"    {line}" for line in self.inputs.splitlines())),
            *("def get_inputs():", "    return draw()"),
        ]
        if self.variants:
            lines += ["def get_input_variants():", f"    return {{{self.variants}}}"]
        return Task(name=self.name, source="\n".join(lines) + "\n")


def _offsets(offsets: torch.Tensor, total: int) -> bool:
    return int(offsets[0]) == 0 and int(offsets[-1]) == total and bool((offsets.diff() >= 0).all())


def _below(ids: torch.Tensor, limit: int) -> bool:
    return bool(((ids >= 0) & (ids < limit)).all())


def places(*pairs: tuple[int, int]) -> frozenset[tuple[int, int]]:
    return frozenset(pairs)


_JAGGED = """lengths = torch.randint(0, 12, (b,))
lengths[-1] = 11
offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])"""

WRITTEN = (
    Written(
        "linear",
        "self.linear = nn.Linear(64, 32)",
        "x: return self.linear(x)",
        "return [torch.randn(b, 64)]",
        lambda x: x[0].shape[1] == 64,
        places((0, 0)),
    ),
    Written(
        "as_many_rows_as_columns",
        "self.linear = nn.Linear(64, 64)",
        "x: return self.linear(x)",
        "return [torch.randn(64, 64)]",
        lambda x: x[0].shape[1] == 64,
        places((0, 0)),
    ),
    Written(
        "as_many_rows_as_outputs",
        "self.linear = nn.Linear(64, 96)",
        "x: return self.linear(x)",
        "return [torch.randn(b, 64)]",
        lambda x: x[0].shape[1] == 64,
        places((0, 0)),
    ),
    Written(
        "weights_that_bring_a_width_of_the_model",
        "self.norm = nn.LayerNorm(24)",
        "x, w: return self.norm(x @ w) + x[:, :1]",
        "return [torch.randn(b, l), torch.randn(l, l)]",
        lambda x: x[1].shape == (24, 24) and x[0].shape[1] == 24,
        places((0, 0)),
    ),
    Written(
        "halves",
        "",
        "x: return x.reshape(x.shape[0], x.shape[1] // 2, 2).prod(2)",
        "return [torch.randn(b, l)]",
        lambda x: x[0].shape[1] % 2 == 0,
        places((0, 0), (0, 1)),
    ),
    Written(
        "boxes",
        "",
        "boxes: return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])",
        "low = torch.rand(b, 2)\nreturn [torch.cat([low, low + torch.rand(b, 2)], dim=1)]",
        lambda x: x[0].shape[1] == 4,
        places((0, 0)),
    ),
    Written(
        "broadcast",
        "",
        "x, y, z: return x * y + z",
        "return [torch.randn(b, 12, l), torch.randn(12, 1), torch.randn(l)]",
        lambda x: x[0].shape[1:] == (x[1].shape[0], x[2].shape[0]) and x[1].shape[1] == 1,
        places((0, 0), (0, 1), (0, 2), (1, 0), (2, 0)),
    ),
    Written(
        "attention",
        "",
        "q, k, v: return F.scaled_dot_product_attention(q, k, v)",
        "return [torch.randn(4, 48, 16), torch.randn(4, l, 16), torch.randn(4, l, 16)]",
        lambda x: x[1].shape == x[2].shape and x[0].shape[0::2] == x[1].shape[0::2],
        places((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)),
    ),
    Written(
        "jagged_sums",
        "",
        "values, offsets: return torch.segment_reduce(values, 'sum', offsets=offsets, axis=0)",
        f"{_JAGGED}\nreturn [torch.randn(int(offsets[-1]), 8), offsets]",
        lambda x: _offsets(x[1], x[0].shape[0]),
        places((0, 0), (0, 1), (1, 0)),
        "'short': draw(7)",
    ),
    Written(
        "jagged_with_segments",
        "",
        "values, offsets, segments: return values.new_zeros(offsets.shape[0] - 1).index_add(0, segments, values)",
        f"{_JAGGED}\nreturn [torch.randn(int(offsets[-1])), offsets, torch.repeat_interleave(torch.arange(b), lengths)]",
        lambda x: (
            _offsets(x[1], x[0].shape[0])
            and torch.equal(x[2], torch.repeat_interleave(torch.arange(len(x[1]) - 1), x[1].diff()))
        ),
        places((0, 0), (1, 0), (2, 0)),
        "'short': draw(7)",
    ),
    Written(
        "jagged_by_lengths",
        "",
        "values, lengths: return torch.segment_reduce(values, 'sum', lengths=lengths, axis=0)",
        f"{_JAGGED}\nreturn [torch.randn(int(offsets[-1]), 8), lengths]",
        lambda x: int(x[1].sum()) == x[0].shape[0] and int(x[1].min()) >= 0,
        places((0, 0), (0, 1), (1, 0)),
        "'short': draw(7)",
    ),
    Written(
        "padded_block_behind_offsets",
        "",
        """block, offsets: position = torch.arange(block.shape[1])
return block.masked_fill(position >= offsets.diff()[:, None], 0.0)""",
        f"{_JAGGED}\nreturn [torch.randn(b, l), offsets]",
        lambda x: int(x[1].diff().max()) <= x[0].shape[1] and len(x[1]) == x[0].shape[0] + 1,
        places((0, 0), (0, 1), (1, 0)),
    ),
    Written(
        "offsets_of_several_features",
        "",
        "values, offsets: return values.cumsum(0), offsets.diff(dim=1)",
        """ends = torch.full((3, 1), 5 * b)
inner = torch.randint(0, 5 * b, (3, b - 1)).sort(dim=1).values
return [torch.randn(5 * b), torch.cat([torch.zeros(3, 1, dtype=torch.int64), inner, ends], dim=1)]""",
        lambda x: all(_offsets(row, len(x[0])) for row in x[1]) and x[1].shape[1] == 97,
        places((1, 0)),
    ),
    Written(
        "embedding",
        "self.table = nn.Embedding(1000, 16)",
        "ids: return self.table(ids)",
        "return [torch.randint(0, 1000, (b, l))]",
        lambda x: _below(x[0], 1000),
        places((0, 0), (0, 1)),
    ),
    Written(
        "one_hot",
        "self.register_buffer('codes', torch.randn(40, 8))",
        "rows: return rows @ self.codes",
        "return [F.one_hot(torch.randint(0, 40, (b,)), 40).float()]",
        lambda x: bool((x[0].sum(1) == 1).all()) and bool(((x[0] == 0) | (x[0] == 1)).all()),
        places((0, 0)),
    ),
    Written(
        "bucketize",
        "",
        "x, borders: return torch.bucketize(x, borders)",
        "return [torch.randn(b, l), torch.rand(20).cumsum(0) - 5]",
        lambda x: bool((x[1].diff() > 0).all()),
        places((0, 0), (0, 1), (1, 0)),
    ),
    Written(
        "batch_norm",
        "self.norm = nn.BatchNorm1d(32)",
        "x: return self.norm(x)",
        "return [torch.randn(b, 32)]",
        lambda x: x[0].shape[1] == 32 and x[0].shape[0] > 1,
        places((0, 0)),
    ),
    Written(
        "conv2d",
        "self.conv = nn.Conv2d(6, 8, 3, padding=1)",
        "x: return self.conv(x)",
        "return [torch.randn(5, 6, 20, l)]",
        lambda x: x[0].shape[1] == 6,
        places((0, 0), (0, 2), (0, 3)),
    ),
    Written(
        "scalars",
        "",
        "x, k, scale, flag: return (x[:, :k] * scale).relu() if flag else x",
        "return [torch.randn(b, l), 5, 0.5, True]",
        lambda x: x[0].shape[1] >= 5 and x[1:] == [5, 0.5, True],
        places((0, 0), (0, 1)),
    ),
    Written(
        "a_number_that_gives_a_size",
        "",
        "x, n: return x.reshape(-1, n).sum(1)",
        "return [torch.randn(b, l), l]",
        lambda x: x[0].shape[1] == x[1] == 24,
        places((0, 0)),
    ),
    Written(
        "no_tensors",
        "self.weight = nn.Parameter(torch.randn(4))",
        "n: return self.weight * n",
        "return [3]",
        lambda x: x == [3],
        places(),
        values=False,
    ),
    Written(
        "cross_entropy",
        "",
        "logits, classes: return F.cross_entropy(logits, classes)",
        "return [torch.randn(b, 30), torch.randint(0, 30, (b,))]",
        lambda x: _below(x[1], x[0].shape[1]) and len(x[1]) == len(x[0]),
        places((0, 0), (0, 1), (1, 0)),
    ),
    Written(
        "cumulative_sum",
        "",
        "x: return x.cumsum(1)",
        "return [torch.randn(b, l)]",
        lambda x: x[0].dim() == 2,
        places((0, 0), (0, 1)),
    ),
    Written(
        "index_select",
        "",
        "rows, ids: return rows.index_select(0, ids)",
        "return [torch.randn(b, l), torch.randint(0, b, (50,))]",
        lambda x: _below(x[1], len(x[0])),
        places((0, 0), (0, 1), (1, 0)),
        "'few': draw(9)",
    ),
    Written(
        "scatter_to_different_places",
        "",
        "rows, ids, values: return rows.scatter(0, ids, values)",
        "return [torch.randn(400), torch.randperm(400)[:b], torch.randn(b)]",
        lambda x: _below(x[1], len(x[0])) and len(x[1].unique()) == len(x[1]) == len(x[2]),
        places((0, 0), (1, 0), (2, 0)),
    ),
    Written(
        "compressed_sparse_rows",
        "",
        """ends, ids, values, x: lengths = ends.diff()
rows = torch.repeat_interleave(torch.arange(lengths.numel()), lengths, output_size=ids.shape[0])
return x.new_zeros(lengths.numel(), x.shape[1]).index_add(0, rows, values[:, None] * x[ids])""",
        f"{_JAGGED}\nn = int(offsets[-1])\nreturn [offsets, torch.randint(0, 60, (n,)), torch.randn(n), torch.randn(60, 9)]",
        lambda x: _offsets(x[0], len(x[1])) and len(x[1]) == len(x[2]) and _below(x[1], len(x[3])),
        places((0, 0), (1, 0), (2, 0), (3, 0), (3, 1)),
    ),
    Written(
        "permuted_rows",
        "",
        "rows, order: return rows[order]",
        "return [torch.randn(b, 7), torch.randperm(b)]",
        lambda x: torch.equal(x[1].sort().values, torch.arange(len(x[0]))),
        places((0, 0), (0, 1), (1, 0)),
    ),
    Written(
        "causal_mask",
        "",
        "scores, mask: return scores.masked_fill(~mask, float('-inf')).softmax(-1)",
        "return [torch.randn(6, l, l), torch.ones(l, l, dtype=torch.bool).tril()]",
        lambda x: torch.equal(x[1], torch.ones_like(x[1]).tril()) and x[0].shape[1:] == x[1].shape,
        places((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)),
    ),
    Written(
        "probabilities",
        "",
        "p: return -(p * p.log()).sum(-1)",
        "return [torch.softmax(torch.randn(b, l), 1)]",
        lambda x: bool(((x[0].sum(1) - 1).abs() < 1e-3).all()) and bool((x[0] > 0).all()),
        places((0, 0), (0, 1)),
    ),
    Written(
        "rows_in_groups_of_four",
        "",
        "x: return x.reshape(x.shape[0] // 4, 4, x.shape[1]).sum(1)",
        "return [torch.randn(b, l)]",
        lambda x: x[0].shape[0] % 4 == 0,
        places((0, 0), (0, 1)),
    ),
    Written(
        "a_squeezed_result",
        "",
        "x, y: return torch.bmm(x, y[:, :, None]).squeeze()",
        "return [torch.randn(b, l, 8), torch.randn(b, 8)]",
        lambda x: x[0].shape[0] > 1 and x[0].shape[1] > 1 and x[0].shape[0::2] == x[1].shape,
        places((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)),
    ),
    Written(
        "all_fixed",
        "self.a = nn.Parameter(torch.randn(12, 20))",
        "x: return self.a * x",
        "return [torch.randn(12, 20)]",
        lambda x: x[0].shape == (12, 20),
        places(),
    ),
    Written(
        "as_many_channels_as_rows_and_columns",
        "self.convolution = nn.Conv2d(8, 4, 3, stride=2)",
        "x: return self.convolution(x)",
        "return [torch.randn(2, 8, 8, 8)]",
        lambda x: x[0].shape[1] == 8 and min(x[0].shape[2:]) >= 3,
        places((0, 0), (0, 2), (0, 3)),
    ),
    Written(
        "symmetric_matrices",
        "",
        "x: return x.sum(1) * 2 + x.sum(2)",
        "x = torch.randn(9, 20, 20)\nreturn [x + x.mT]",
        lambda x: torch.equal(x[0], x[0].mT),
        places((0, 0), (0, 1), (0, 2)),
    ),
    Written(
        "a_width_that_the_model_divides_by",
        "self.width = 24",
        "x: return x.sum(1) / self.width",
        "return [torch.randn(b, l)]",
        lambda x: x[0].shape[1] == 24,
        places((0, 0)),
    ),
    Written(
        "what_export_refuses",
        "",
        "x: return x * 2 if float(x.sum()) > 0 else x",
        "return [torch.randn(b, l)]",
        lambda x: x[0].shape[1] == 24,
        places((0, 0)),
        "'short': draw(7)",
    ),
)


@pytest.mark.parametrize("written", WRITTEN, ids=[w.name for w in WRITTEN])
def test_free_dimensions_are_found_and_derived_inputs_are_legal(
    written: Written, check: Callable[[Task, Callable[[Sequence[Any]], bool]], DerivedInputs]
) -> None:
    derived = check(written.task(), written.legal)
    main = load_module(written.task()).get_inputs()
    changed: set[tuple[int, int]] = set()
    for case in derived.cases:
        if case.kind == "shape":
            changed |= {
                (i, d)
                for i, (x, y) in enumerate(zip(case.inputs(), main, strict=True))
                if isinstance(x, torch.Tensor)
                for d in range(x.dim())
                if x.shape[d] != y.shape[d]
            }
    own = {p for p in changed if not _varies(written, *p)}
    assert own == {p for p in written.free if not _varies(written, *p)}, derived.notes
    assert any(case.kind == "shape" for case in derived.cases) == bool(written.free)
    assert any(case.kind == "values" for case in derived.cases) == written.values


def _varies(written: Written, i: int, d: int) -> bool:
    """Whether the size differs from draw to draw."""
    loaded = load_module(written.task())
    draws = [loaded.get_inputs()[i] for _ in range(4)]
    return len({x.shape[d] for x in draws if isinstance(x, torch.Tensor)}) > 1


def test_what_happens_to_be_square_gets_other_shapes_too(settings: InputSettings) -> None:
    image = next(w for w in WRITTEN if w.name == "as_many_channels_as_rows_and_columns")
    cases = derived_cases(load_module(image.task()), settings).cases
    assert any(x.shape[2] != x.shape[3] for (x,) in (case.inputs() for case in cases))


def test_what_did_not_run_is_said(settings: InputSettings) -> None:
    refused = next(w for w in WRITTEN if w.name == "what_export_refuses")
    notes = derived_cases(load_module(refused.task()), settings).notes
    assert any(note.startswith("torch.export failed: ") for note in notes)
    assert any(note.startswith("x0[1] (24): fixed, no variant varies it") for note in notes)
    fixed = next(w for w in WRITTEN if w.name == "all_fixed")
    assert (
        "0 hidden shapes instead of 4: no other sizes are legal"
        in derived_cases(load_module(fixed.task()), settings).notes
    )


def test_complex_numbers_take_other_shapes_and_keep_their_values(settings: InputSettings) -> None:
    written = WRITTEN[0]._replace(init="", forward="x: return x.abs()", inputs="return [torch.randn(b, 3) + 1j]")
    derived = derived_cases(load_module(written.task()), settings)
    assert {case.kind for case in derived.cases} == {"shape"}
    assert all(case.inputs()[0].dtype is torch.complex64 for case in derived.cases)
    assert "x0: its values stay as drawn, it is of torch.complex64" in derived.notes


def test_an_export_that_takes_too_long_is_given_up(settings: InputSettings) -> None:
    slow = WRITTEN[0]._replace(forward="x: import time\ntime.sleep(60)\nreturn x", variants="'short': draw(7)")
    begin = time.monotonic()
    derived = derived_cases(load_module(slow.task()), settings.model_copy(update={"export_seconds": 0.5}))
    assert time.monotonic() - begin < 20
    assert "torch.export failed: it takes longer than 0.5 s" in derived.notes
    quick = derived_cases(load_module(WRITTEN[0].task()), settings)
    assert not any(note.startswith("torch.export failed") for note in quick.notes)


def test_the_seed_decides_and_the_global_generator_is_left_alone(settings: InputSettings) -> None:
    loaded = load_module(WRITTEN[2].task())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again = (derived_cases(loaded, settings) for _ in range(2))
    other = derived_cases(loaded, settings.model_copy(update={"seed": 1}))
    drawn = [case.inputs() for case in first.cases]
    assert torch.equal(before, torch.get_rng_state())
    assert [c.name for c in first.cases] == [c.name for c in again.cases]
    assert [c.name for c in first.cases] != [c.name for c in other.cases]
    assert all(
        torch.equal(torch.nan_to_num(x), torch.nan_to_num(y))
        for xs, case in zip(drawn, again.cases, strict=True)
        for x, y in zip(xs, case.inputs(), strict=True)
    )
