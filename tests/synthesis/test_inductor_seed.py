"""Seeds from TorchInductor: right on every input they take, the same each time, refused with a reason otherwise."""

from __future__ import annotations

import functools
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin import seeds
from kernelevolve.synthesis.builtin.inductor import kernel as inductor_writer
from kernelevolve.synthesis.builtin.inductor.child import try_out
from kernelevolve.synthesis.builtin.inductor.isolated import answer
from kernelevolve.synthesis.builtin.inductor.kernel import inductor_kernel
from kernelevolve.synthesis.builtin.inductor.lowering import lower
from kernelevolve.synthesis.builtin.retuning.source_knobs import mutate, read_knobs, with_knobs
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from tests.alone import runs_alone

from .conftest import agree, load, task_of
from .test_builtin_operator import prepared, propose

pytestmark = pytest.mark.thorough

ROWS = "[torch.randn(37, 50)]"
OTHER_ROWS = '{"a": [torch.randn(5, 50)], "b": [torch.randn(64, 33)]}'
IMAGES = "[torch.randn(2, 3, 16, 18)]"
OTHER_IMAGES = '{"a": [torch.randn(4, 3, 16, 18)], "one": [torch.randn(1, 3, 20, 24)]}'
SUMMED = task_of("return F.softmax(x[0].logcumsumexp(1) * 2, -1)", ROWS, variants=OTHER_ROWS)

CASES = {
    "sort": (
        "v, i = x[0].sort(1); return F.softmax(v * 2, -1), (i % 7) // 3 << 2, (v + 1e7) - 1e7",
        ROWS,
        "pass",
        OTHER_ROWS,
    ),
    "topk": ("v, i = x[0].topk(3, 1); return torch.sigmoid(v) * 2, i", ROWS, "pass", OTHER_ROWS),
    "pool": (
        "v = F.max_pool2d(x[0], 3, 1, 1); return F.relu(v) * x[0], v.amin(3), v.argmax(2)",
        "[torch.randn(2, 3, 16, 18).masked_fill(torch.rand(16, 18) > 0.95, float('nan'))]",
        "pass",
        OTHER_IMAGES,
    ),
    "average": ("return F.adaptive_avg_pool2d(x[0], 4).exp().tanh()", IMAGES, "pass", "{}"),
    "fft": ("return torch.fft.rfft(x[0]).abs() * 2", ROWS, "pass", OTHER_ROWS),
    "learning": ("return F.relu(self.b(x[0]))", ROWS, "self.b = nn.BatchNorm1d(50)", '{"a": [torch.randn(5, 50)]}'),
    "half": ("return F.layer_norm(x[0].bfloat16().sort(1).values, (50,)) * 2", ROWS, "pass", "{}"),
    "scatter": (
        "return torch.zeros(37, 50).scatter_reduce(0, x[1], x[0], 'amax').erf()",
        "[torch.randn(37, 50), torch.randint(0, 37, (37, 50))]",
        "pass",
        "{}",
    ),
    "data": ("return x[0][x[0] > 0].exp()", ROWS, "pass", OTHER_ROWS),
    "whole": (
        "v = x[0].sort(1).values; return v.sum(), v.var(), v.argmax(), (v > 0).any(0), v.mean(0)",
        "[torch.randn(300, 200) + 3]",
        "pass",
        '{"few": [torch.randn(5, 200)]}',
    ),
    "extern": (
        "return [torch.log1p(self.l(x[0]).abs()).median(1, keepdim=True).values, x[0].cummax(1).values * self.c]",
        ROWS,
        "self.l = nn.Linear(50, 20); self.c = torch.arange(50.).log()",
        '{"a": [torch.randn(5, 50)]}',
    ),
}


written = functools.cache(inductor_kernel)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kernels_from_its_code(
    case: tuple[str, str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(*case)
    kernel, remark = written(task)
    assert remark == ""
    assert 'extern "C" void' in kernel.source
    agree(task, load(kernel, tmp_path, monkeypatch))


def counted(model: Any) -> int:
    """How often the kernel has left an input to the reference's own operations."""
    return int(model._ModelNew__fallback["calls"])


def test_inputs_beyond_the_assumptions_of_a_graph_take_the_references_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(written(SUMMED)[0], tmp_path, monkeypatch).ModelNew()
    beyond = (torch.randn(4, 5, 6), torch.randn(4, 5, dtype=torch.float64), torch.randn(0, 50))
    for number, x in enumerate(beyond, 1):
        torch.testing.assert_close(model(x), torch.softmax(x.logcumsumexp(1) * 2, -1))
        assert counted(model) == number
    assert model._ModelNew__fallback["seconds"] > 0
    strided = torch.randn(50, 37).t()
    torch.testing.assert_close(model(strided), torch.softmax(strided.logcumsumexp(1) * 2, -1))
    assert model(torch.randn(2, 3)).shape == (2, 3)
    assert counted(model) == len(beyond)


_GENERATOR = torch.Generator().manual_seed(7)


def _drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=_GENERATOR)


ONES = {
    "sort": ([_drawn(1, 50)], [_drawn(37, 1)], [_drawn(1, 1)]),
    "topk": ([_drawn(1, 50)], [_drawn(1, 3)]),
    "pool": ([_drawn(1, 3, 1, 5)], [_drawn(2, 3, 1, 1)]),
    "learning": ([_drawn(2, 50)],),
    "fft": ([_drawn(1, 50)],),
    "data": ([_drawn(1, 50)], [torch.ones(1, 1)], [-torch.ones(1, 1)]),
    "whole": ([_drawn(2, 200) + 3], [_drawn(2, 1)], [_drawn(1, 200) + 3]),
    "extern": ([_drawn(1, 50)],),
}


@pytest.mark.parametrize("name", ONES)
def test_sizes_of_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(*CASES[name])
    module = load(written(task)[0], tmp_path, monkeypatch)
    reference = build_model(load_module(task), task.seed)
    torch.manual_seed(task.seed)
    candidate = module.ModelNew()
    with torch.no_grad():
        for inputs in ONES[name]:
            torch.testing.assert_close(candidate(*inputs), reference(*inputs), equal_nan=True)
    assert counted(candidate) < len(ONES[name]) or name == "learning"


def test_a_mode_that_the_graph_was_not_made_in_takes_the_references_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(*CASES["learning"])
    model = load(written(task)[0], tmp_path, monkeypatch).ModelNew()
    reference = build_model(load_module(task), task.seed)
    x = torch.randn(37, 50)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(model(x), reference(x))
        assert counted(model) == 0
        model.b.eval()
        reference.b.eval()
        torch.testing.assert_close(model(x), reference(x))
        assert counted(model) == 1
        torch.testing.assert_close(model.train()(x), reference.train()(x))
        assert counted(model) == 1
    torch.testing.assert_close(model.b.running_var, reference.b.running_var)


def test_where_pytorchs_own_compute_is_forbidden_they_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = SUMMED.model_copy(update={"allow_aten": AllowAten.NONE})
    model = load(inductor_kernel(task)[0], tmp_path, monkeypatch).ModelNew()
    with pytest.raises(ValueError, match=r"not written for inputs of shapes \[\(4, 5, 6\)\]"):
        model(torch.randn(4, 5, 6))


def test_each_side_of_a_branch_on_a_size_gets_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = "v = x[0].sort(1).values; return v + 1 if x[0].shape[0] % 2 else v * 2"
    task = task_of(forward, ROWS, variants='{"even": [torch.randn(6, 50)], "odd": [torch.randn(11, 33)]}')
    kernel, remark = inductor_kernel(task)
    assert remark == ""
    assert kernel.source.count("def __graph_") == 2
    agree(task, load(kernel, tmp_path, monkeypatch))


def test_a_value_that_is_no_tensor_is_part_of_the_assumptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(
        "return x[0].sort(1).values * x[1]", "[torch.randn(9, 7), 3]", variants='{"a": [torch.randn(9, 7), 5]}'
    )
    kernel, remark = inductor_kernel(task)
    assert remark == ""
    module = load(kernel, tmp_path, monkeypatch)
    agree(task, module)
    x, model = torch.randn(9, 7), module.ModelNew()
    torch.testing.assert_close(model(x, 4), x.sort(1).values * 4)
    assert counted(model) == 1


def test_variants_without_a_graph_run_the_reference_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inductor_writer, "_MAX_GRAPHS", 2)
    variants = '{"two": [torch.randn(2, 3)], "three": [torch.randn(2, 3, 4)]}'
    task = task_of("return x[0].sort(-1).values.exp()", "[torch.randn(9)]", variants=variants)
    kernel, remark = inductor_kernel(task)
    assert remark == "for the inputs three the reference's own operations run (more than 2 graphs)"
    assert "no code for the inputs three" in kernel.source
    agree(task, load(kernel, tmp_path, monkeypatch))


def test_every_knob_of_a_seed_may_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(*CASES["pool"])
    kernel, _ = written(task)
    knobs = read_knobs(kernel.source, kernel.language)
    names = {k.name.partition("#")[0] for k in knobs}
    assert {"-O", "-ffast-math", "-mprefer-vector-width", "USE_THREADS_0", "USE_SIMD_0", "schedule"} <= names
    far = with_knobs(kernel.source, [(k, k.domain[-1] if k.value != k.domain[-1] else k.domain[0]) for k in knobs])
    near = mutate(kernel.source, kernel.language, random.Random(1))
    assert near is not None
    for source in (far, near[0]):
        agree(task, load(Kernel(source=source, language="cpp"), tmp_path, monkeypatch))


def test_the_operator_starts_from_it_and_goes_on_through_its_knobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    operator = prepared(SUMMED)
    [kept] = temporary.glob("kernelevolve*")
    [trace] = (file for file in kept.iterdir() if not file.suffix)
    first = propose(operator, SUMMED, 0, step=1)
    assert (first.operator, first.kernel.language) == ("builtin/inductor", "cpp")
    assert first.note == "TorchInductor's code; the traced form lacks the operation aten.logcumsumexp.default"
    assert first.kernel == written(SUMMED)[0], "another process, other bytes"
    assert "torch/csrc" not in first.kernel.source
    assert str(tmp_path) not in first.kernel.source
    assert len([file for file in kept.iterdir() if not file.suffix and file != trace]) == 1, (
        "not made before it is wanted"
    )
    monkeypatch.setattr(seeds, "answer", None)
    again = propose(prepared(SUMMED), SUMMED, 1, known=frozenset({first.kernel.id}), step=1)
    child = propose(operator, SUMMED, 2, (first.kernel,))
    assert (again.operator, child.operator) == ("builtin/inductor", "builtin/retune")
    assert first.kernel.id not in {again.kernel.id, child.kernel.id}
    right = "torch.allclose(m(x), torch.softmax(x.logcumsumexp(1) * 2, -1), atol=1e-6)"
    (tmp_path / "kernel.py").write_text(first.kernel.source)
    runs_alone(tmp_path, f"m = kernel.ModelNew(); x = torch.randn(3, 100); assert {right}")


def test_what_it_refuses_starts_from_the_aten_graph_with_both_reasons_in_the_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THE_API_KEY", "secret")
    source = task_of("return x[0].erfinv()", "[torch.rand(37, 50)]").source
    # Only the process of its own has no key: were it there, the reason would be another.
    source = source.replace(
        "x[0].erfinv()", "x[0].erfinv() if 'THE_API_KEY' not in os.environ else x[0].logcumsumexp(1)"
    )
    task = Task(name="test", source=source.replace("import torch\n", "import os\nimport torch\n", 1))
    seed = propose(prepared(task), task, 0, step=1)
    assert (seed.operator, seed.kernel.language) == ("builtin/aten", "python")
    assert seed.note.startswith("the ATen graph; the traced form lacks the operation aten.logcumsumexp.default; ")
    assert "TorchInductor's code cannot be had: its C++ does not compile" in seed.note
    assert "erfinv" in seed.note


@pytest.mark.parametrize(
    ("forward", "inputs", "reason"),
    [
        ("return x[0].sort(1).values", ROWS, "leaves all of it to ATen"),
        ("x[0].mul_(2); return x[0].sort(1).values", ROWS, "changes its inputs"),
        ("return x[0] if x[0].sum().item() > 0 else -x[0]", ROWS, "torch.export"),
    ],
    ids=["nothing fused", "mutation", "control flow"],
)
def test_reasons(forward: str, inputs: str, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        inductor_kernel(task_of(forward, inputs))


def test_a_kernel_that_is_plainly_wrong_or_fails_is_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELEVOLVE_BUILD_DIR", "")
    kernel, _ = written(SUMMED)
    for old, new, reason in (
        ("static_cast<float>(2.0)", "static_cast<float>(3.0)", "its result on the main inputs"),
        ("return buf", "raise RuntimeError; return buf", "its code fails on the main inputs"),
        (
            "return self.__graph_0(x0)",
            "return self.__graph_0(x0) if len(x0) == 37 else 1 // 0",
            "fails on the inputs a",
        ),
        ("x0.dim() == 2", "x0.shape[0] == 5", "does not take the main inputs"),
    ):
        assert old in kernel.source
        with pytest.raises(UnsupportedError, match=reason):
            try_out(SUMMED, Kernel(source=kernel.source.replace(old, new), language="cpp"))


def test_another_torch_and_a_slow_compiler_are_reasons_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import compile_fx
    from torch._inductor.graph import GraphLowering

    loaded = load_module(SUMMED)
    inputs: list[Any] = draw_inputs(loaded, 0)
    started = time.monotonic()
    with pytest.raises(UnsupportedError, match="it took longer than"):
        answer(SUMMED, "inductor", seconds=0.2)
    assert time.monotonic() - started < 60
    with monkeypatch.context() as patched:
        patched.setattr(compile_fx, "compile_fx_inner", lambda *_, **__: {}["lost"])
        with pytest.raises(UnsupportedError, match="TorchInductor: KeyError"):
            lower(build_model(loaded, 0), inputs)
        patched.setattr(compile_fx, "compile_fx_inner", lambda *_, **__: None)
        with pytest.raises(UnsupportedError, match="hands no code over"):
            lower(build_model(loaded, 0), inputs)
        patched.delattr(GraphLowering, "save_output_code")
        with pytest.raises(UnsupportedError, match="unsupported TorchInductor"):
            lower(build_model(loaded, 0), inputs)
