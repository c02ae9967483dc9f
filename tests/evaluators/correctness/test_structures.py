"""What forward takes and returns: nested, of every dtype, however it lies in memory. A copy of the reference is right, another is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from evaluators.correctness.checker import Checker
from evaluators.correctness.inputs.checks import COMPILED
from evaluators.correctness.ledger import Ledger
from evaluators.correctness.reference.data import Reference
from evaluators.correctness.reference.store import compute_reference, find_reference, probe_task
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.settings import EvaluationSettings
from evaluators.timing.calibration import Calibrations
from evaluators.timing.fresh_inputs import FreshValues
from evaluators.timing.stopwatch import REFERENCE, Entrant, Stopwatch, input_bytes
from evaluators.verdict import FailedError
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task

pytestmark = pytest.mark.thorough

PAIR = "from collections import namedtuple\nPair = namedtuple('Pair', 'left right')\n"


def task_of(forward: str, inputs: str, top: str = "", takes: str = "self, x") -> Task:
    """A reference whose forward returns an expression of what it takes."""
    return Task(
        name="small",
        source=f"""import torch
from torch import nn
{top}

class Model(nn.Module):
    def forward({takes}):
        return {forward}


def get_inputs():
    return {inputs}
""",
    )


X = "torch.randn(6, 8)"
DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16"),
    *("float8_e4m3fn", "float8_e5m2", "complex64", "complex128"),
)
LYING = {
    "shared": "Y",
    "view": "Y[2:]",
    "expanded": "torch.randn(1, 8).expand(6, 8)",
    "windows": "torch.randn(40).as_strided((12, 8), (2, 1))",
    "strided": "torch.randn(6, 16)[:, ::2]",
    "transposed": "torch.randn(6, 8).t()",
    "channels_last": "torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)",
    "no_elements": "torch.randn(0, 8)",
    "no_dimensions": "torch.randn(())",
    "grad": "torch.randn(6, 8).requires_grad_()",
    "conjugated": "torch.randn(4, 5, dtype=torch.complex64).conj()",
}
NESTED = f"{{'b': Pair({X}, {X}), 'a': [({X}, 2), (None, {X})], 'unused': ()}}"
RIGHT = {
    "nested": task_of(
        "torch.cat([t for k in x for t in x[k] if k == 'b'], 1) * x['b'].left.sum() * x['a'][0][1]", f"[{NESTED}]", PAIR
    ),
    "plain": task_of(
        "x * b if c is None and d == 'sum' and e else x", f"[{X}, 3, None, 'sum', True]", "", "self, x, b, c, d, e, f=1"
    ),
    "star": task_of("sum(x)", f"[{X}, {X}, {X}]", "", "self, *x, **more"),
    "lying": task_of(
        "{k: v * 2 for k, v in x.items()}", f"[{{{', '.join(f'{k!r}: {v}' for k, v in LYING.items())}}}]", f"Y = {X}"
    ),
    "dtypes": task_of(
        "[(t.clone(), t[:, :2]) for t in x]",
        f"[[(torch.rand(6, 8) * 100).to(d) for d in ({', '.join(f'torch.{d}' for d in DTYPES)})]]",
    ),
    "returns_nested": task_of(
        "{'b': Pair(x * 2, [x.sum(), (x, None)]), 'a': (x.shape[0], 'text', True, float(x.sum()))}", f"[{X}]", PAIR
    ),
    "returns_twice": task_of("[x * 2] * 2 + [x[:, 0], x, x[1:], x.t(), x.new_empty(0, 3), x.max(1)]", f"[{X}]"),
    "returns_complex": task_of("torch.fft.rfft(x), torch.fft.rfft(x).conj(), torch.fft.rfft(x).conj().imag", f"[{X}]"),
    "returns_float8": task_of("(x * 3).to(torch.float8_e4m3fn)", f"[{X}]"),
}
RIGHT["changed_complex"] = task_of("x[0].mul_(1j) + 1", "[(torch.randn(3, 4, dtype=torch.complex64), None)]")
RIGHT["compiled"] = task_of(
    "act(x) + sin(x)",
    f"[{X}]",
    "@torch.compile\ndef act(x):\n    return x * 2\n\n\nsin = torch.compile(torch.sin, dynamic=True)\n",
)
RIGHT["gradient"] = task_of(
    "gradient(x)",
    f"[{X}]",
    "def gradient(x):\n    with torch.enable_grad():\n        y = x.detach().requires_grad_()\n"
    "        return torch.autograd.grad(y.sin().sum(), y)[0]\n",
)
COMPLEX = task_of("torch.fft.rfft(x), len(x), float(x.sum())", f"[{X}]")
WRONG = {
    "structure": (COMPLEX, "{'a': torch.fft.rfft(x), 'b': 6, 'c': 1.0}", "expected tuple(tensor, int, float)"),
    "value": (COMPLEX, "(torch.fft.rfft(x), 7, float(x.sum()))", "plain result 0 is 7, expected 6"),
    "number": (COMPLEX, "(torch.fft.rfft(x), 6, float(x.sum()) * 1.01 + 0.01)", "plain result 1 is"),
    "imaginary": (COMPLEX, "(torch.fft.rfft(x).conj(), 6, float(x.sum()))", "are wrong"),
    "pairs": (
        COMPLEX,
        "(torch.view_as_real(torch.fft.rfft(x)), 6, float(x.sum()))",
        "shape (6, 5, 2), expected (6, 5)",
    ),
    "dtype": (COMPLEX, "(torch.fft.rfft(x.double()), 6, float(x.sum()))", "torch.complex128, expected torch.complex64"),
    "float8": (RIGHT["returns_float8"], "(x * 4).to(torch.float8_e4m3fn)", "are wrong"),
    "uint16": (
        task_of("x * 1", "[torch.arange(60000, 60048).to(torch.uint16).view(6, 8)]"),
        "x.view(torch.int16).clamp(max=-5500).view(torch.uint16)",
        "are wrong",
    ),
    "written": (
        task_of("x + 1", "[torch.randn(1, 8).expand(6, 8)]"),
        "(x + 1, x.as_strided((8,), (1,)).add_(1))[0]",
        "input 0 was changed in place",
    ),
}
REFUSED_RESULTS = {
    "shared_and_written": (
        task_of("x.mul_(2) + y", "(lambda x: [x, x])(torch.ones(3))", "", "self, x, y"),
        "inputs share memory, and forward gives another result where they do not",
    ),
    "number": (task_of("float(x.sum())", f"[{X}]"), "forward returns no tensor but float: return one, such as"),
    "sparse": (task_of("{'a': x.to_sparse()}", f"[{X}]"), "forward returned result['a'], which is sparse"),
    "set": (task_of("{x}", f"[{X}]"), "forward returned a result that is a set"),
    "cuda": (task_of("x.cuda()", f"[{X}]"), "(tasks run on the CPU: leave .cuda()"),
    "no_grad": (task_of("torch.autograd.grad(x.sin().sum(), x)[0]", f"[{X}]"), "write `with torch.enable_grad():`"),
}


@pytest.fixture(scope="module")
def few(settings: EvaluationSettings) -> EvaluationSettings:
    return settings.model_copy(
        update={
            "run_timeout": 30.0,
            "trials": 1,
            "inputs": settings.inputs.model_copy(update={"shapes": 1, "values": 2, "export_seconds": 20.0}),
            "timing": settings.timing.model_copy(update={"max_rounds": 2, "min_rounds": 2, "max_seconds": 0.01}),
        }
    )


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with closing(CpuRuntime(ForkServer(threads=1, confined=True), 1)) as made:
        yield made


def prepared(task: Task, settings: EvaluationSettings, runtime: Runtime) -> Reference:
    return find_reference(task, settings, "cpu") or compute_reference(
        task, settings, runtime, probe_task(task, settings, runtime)
    )


def judge(task: Task, source: str, settings: EvaluationSettings, runtime: Runtime) -> Reference:
    """Whether a kernel is right, in calls and in a timed block. Raises FailedError where not."""
    reference = prepared(task, settings, runtime)
    room = input_bytes(reference, settings)
    with (
        runtime.spawn(room, trusted=True, memory_gb=2.0, processor_seconds=100.0) as native,
        runtime.spawn(room, trusted=False, memory_gb=2.0, processor_seconds=100.0) as runner,
    ):
        for each in (native, runner):
            each.allow(settings.run_timeout)
        native.load_reference(task)
        native.build()
        runner.load_kernel(source, task, reference.init)
        runner.build()
        checker, main = Checker(reference, task.tolerance), reference.main
        checker.check(runner, Ledger())
        entrant = Entrant([runner], checked=True)
        after = checker.bounds(main.effects.expected) if main.effects else ()
        watch = Stopwatch(
            runtime,
            [native],
            {"it": entrant},
            main,
            FreshValues(main),
            checker.bounds(main.expected),
            settings.timing,
            0,
            Calibrations(),
            after,
        )
        watch.run(lambda times, _: len(times[REFERENCE]) > 1)
        if entrant.failure is not None:
            raise FailedError(entrant.failure)
    return reference


def test_a_task_whose_torch_compile_does_nothing_has_that_said(few: EvaluationSettings, runtime: Runtime) -> None:
    ledger = Ledger()
    ledger.begin(prepared(RIGHT["compiled"], few, runtime))
    [check] = [check for check in ledger.checks() if check.name == COMPILED]
    assert check.count == 0
    assert "without being compiled" in check.skipped[0]
    assert not check.timed_out, "another evaluation would say the same"
    ledger.begin(prepared(RIGHT["gradient"], few, runtime))
    assert COMPILED not in [check.name for check in ledger.checks()]


def kernel_of(task: Task, forward: str | None = None) -> str:
    """The reference under a kernel's name, or one that returns another expression."""
    source = task.source.replace("class Model(", "class ModelNew(")
    if forward is not None:
        head, _, rest = source.partition("        return ")
        source = f"{head}        return {forward}\n{rest.partition(chr(10))[2]}"
    return source


@pytest.mark.parametrize("name", RIGHT)
def test_a_copy_of_the_reference_is_right(name: str, few: EvaluationSettings, runtime: Runtime) -> None:
    judge(RIGHT[name], kernel_of(RIGHT[name]), few, runtime)


def test_inputs_are_derived_from_tensors_within_structures(few: EvaluationSettings, runtime: Runtime) -> None:
    reference = prepared(RIGHT["nested"], few, runtime)
    assert [case.label for case in reference.cases if case.label.startswith("shape: x0[")], reference.notes
    assert [case.label for case in reference.cases if case.label.startswith("values: ")]


@pytest.mark.parametrize("name", WRONG)
def test_another_result_is_wrong(name: str, few: EvaluationSettings, runtime: Runtime) -> None:
    task, forward, words = WRONG[name]
    with pytest.raises(FailedError) as caught:
        judge(task, kernel_of(task, forward), few, runtime)
    assert words in caught.value.failure.summary


@pytest.mark.parametrize("name", REFUSED_RESULTS)
def test_what_cannot_be_returned_is_refused_in_one_line(name: str, few: EvaluationSettings, runtime: Runtime) -> None:
    task, words = REFUSED_RESULTS[name]
    with pytest.raises(UserError) as caught:
        prepared(task, few, runtime)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
