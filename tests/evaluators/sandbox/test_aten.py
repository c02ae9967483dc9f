"""What a task's rule on PyTorch's own compute leaves and forbids, at the dispatcher and in verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from devices.cpu import CpuDevice
from evaluators.runtime.base import Runtime
from evaluators.sandbox.aten import ForbiddenComputeError, computes, kernels, named_in
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import AllowAten, Task
from tests.evaluators.service.test_pipeline import CPP as FAST
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

CPP = Kernel(language="cpp", source=FAST.source.replace(', "-ffast-math"', ""))

FREE = {
    "allocation": "torch.empty(3), torch.empty_like(x), x.new_empty(2), torch.empty_strided((2, 2), (1, 2))",
    "resize": "torch.empty(0).resize_(5)",
    "views": "x.view(16), x.t(), x[1:, 0], x.expand(2, 4, 4), x.unbind(0), x.split(2), x.permute(1, 0), x.as_strided((2,), (3,))",
    "views_in_place": "x.detach().t_().squeeze_().unsqueeze_(0)",
    "nothing_to_be_done": "x.contiguous(), x.to(torch.float32), x.reshape(2, 8), x.float(), x.cpu(), x.flatten(), x.type_as(y)",
    "bits": "x.view(torch.int32)",
    "parameters": "nn.Parameter(x), x.detach(), x.requires_grad_(False)",
    "metadata": "x.shape, x.stride(), x.numel(), x.is_contiguous(), x.data_ptr(), x._version, torch.is_same_size(x, y)",
    "memory": "torch.frombuffer(bytearray(64), dtype=torch.float32).as_strided((4, 4), (4, 1))",
    "numpy": "x.numpy() + 1",
}
MOVEMENT = {
    "fill": "torch.zeros(3), torch.full((2,), 7.0), x.fill_(1), torch.arange(5), torch.ones_like(x), x.zero_()",
    "copy": "x.clone(), y.copy_(x), x.t().contiguous(), x.t().reshape(16), torch.expand_copy(x, (2, 4, 4))",
    "cast": "x.double(), x.to(torch.int64), x.half()",
    "join": "torch.cat([x, y]), torch.stack([x, y]), torch.hstack([x, y])",
    "pad": "F.pad(x, (1, 2)), F.pad(x[None], (1, 1), mode='reflect'), F.pad(x[None], (1, 1), mode='circular')",
    "rearrange": "x.flip(0), x.roll(1), x.expand(2, 4, 4).reshape(8, 4), F.pixel_shuffle(torch.empty(1, 4, 2, 2), 2)",
    "element": "x[0, 0].item(), y.__setitem__((0, 0), 3.0)",
}
COMPUTE = {
    "operators": "x + y",
    "matmul": "x @ y",
    "under_another_name": "getattr(torch, 'mat' + 'mul')(x, y)",
    "out": "torch.mul(x, y, out=torch.empty(4, 4))",
    "in_place": "x.mul_(2)",
    "ops": "torch.ops.aten._softmax.default(x, -1, False)",
    "lerp": "torch.lerp(x, y, 0.5)",
    "foreach": "torch._foreach_add([x], [y])",
    "foreach_in_place": "torch._foreach_addcmul_([x], [x], [y])",
    "reduction": "x.sum()",
    "functional": "F.gelu(x)",
    "attention": "F.scaled_dot_product_attention(x, y, y)",
    "native_composite": "F.max_pool1d(x, 2)",
    "convolution": "F.conv2d(x[None, None], y[None, None])",
    "gather": "x[torch.empty(2, dtype=torch.int64)], x.index_select(0, i)",
    "selection": "torch.where(x > 0, x, y)",
    "sort": "x.sort()",
    "random": "torch.rand(3)",
    "factory_with_arithmetic": "torch.linspace(0, 1, 5)",
    "fft": "torch.fft.rfft(x)",
    "linalg": "torch.linalg.inv(x)",
    "sparse": "torch.sparse.mm(SPARSE, x)",
    "sparse_rows": "ROWS @ x",
    "quantized": "torch.ops.quantized.linear_dynamic(x, PACKED)",
    "onednn": "torch.ops.mkldnn._linear_pointwise(x, y, None, 'none', [], '')",
    "half_first": "(x.half() @ y.half()).float()",
    "negated_by_a_copy": "torch._neg_view(x).clone()",
    "autograd_function": "Wrapped.apply(x)",
    "backward": "(lambda p: GRAPH_OUTPUT.backward())(0)",
    "modes_popped": "without_modes(lambda: x @ y)",
    "inference_mode": "under(torch.inference_mode(), lambda: x * y)",
    "gradients_on": "under(torch.enable_grad(), lambda: x * y)",
    "autocast": "under(torch.autocast('cpu'), lambda: x @ y)",
    "thread": "in_thread(lambda: x * y)",
    "torchscript": "SCRIPTED(x)",
    "graph": "PARSED(x)",
    "redispatch": "torch.ops.aten.mm.default.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), x, y)",
    "vmap": "torch.vmap(torch.sin)(x)",
    "module": "LINEAR(x)",
}
_PROGRAM = """
import json, sys, threading, warnings
warnings.simplefilter("ignore")
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes
from evaluators.sandbox import aten
from kernelevolve.core.task import AllowAten

LINEAR = nn.Linear(4, 4)
x, y, i = torch.randn(4, 4), torch.randn(4, 4), torch.tensor([0, 1])
SPARSE, ROWS = x.to_sparse(), x.to_sparse_csr()
PACKED = torch.ops.quantized.linear_prepack(torch.quantize_per_tensor(y, 0.1, 0, torch.qint8), None)
GRAPH_OUTPUT = (torch.ones(2, requires_grad=True) * 2).sum()
SCRIPTED = torch.jit.script(nn.Tanh())
PARSED = torch._C._create_function_from_graph(
    "f", torch._C.parse_ir("graph(%x : Tensor):\\n  %y : Tensor = aten::tanh(%x)\\n  return (%y)")
)

class Wrapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return F.gelu(x)

def under(context, call):
    with context:
        return call()

def without_modes(call):
    with _disable_current_modes(), torch._C._DisableTorchDispatch():
        return call()

def in_thread(call):
    errors = []
    def run():
        try:
            call()
        except BaseException as error:
            errors.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]

assert not aten.in_force()
aten.remove_bypasses()
aten.enforce(AllowAten(sys.argv[1]))
found = {}
with torch.no_grad():
    for name, text in json.load(sys.stdin).items():
        try:
            eval(text)
            found[name] = ""
        except Exception as error:
            found[name] = aten.named_in(error) or f"failed: {error!r}"
found["in force"] = str(aten.in_force())
print(json.dumps(found))
"""


@cache
def _told(rule: AllowAten) -> dict[str, str]:
    """By snippet: empty where it runs, else what was forbidden."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, rule.value],
        input=json.dumps(FREE | MOVEMENT | COMPUTE),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("rule", [AllowAten.NONE, AllowAten.HELPERS])
@pytest.mark.parametrize("name", FREE)
def test_allocation_views_and_metadata_stay(name: str, rule: AllowAten) -> None:
    assert _told(rule)[name] == ""


@pytest.mark.parametrize("name", MOVEMENT)
def test_movement_of_data_is_for_helpers(name: str) -> None:
    assert _told(AllowAten.HELPERS)[name] == ""
    assert "allow_aten: none" in _told(AllowAten.NONE)[name]


@pytest.mark.parametrize("rule", [AllowAten.NONE, AllowAten.HELPERS])
@pytest.mark.parametrize("name", COMPUTE)
def test_compute_raises_however_it_is_reached(name: str, rule: AllowAten) -> None:
    assert f"(allow_aten: {rule})" in _told(rule)[name]


@pytest.mark.parametrize("rule", [AllowAten.NONE, AllowAten.HELPERS])
def test_the_rule_is_seen_to_be_in_force(rule: AllowAten) -> None:
    assert _told(rule)["in force"] == "True"


def test_what_all_leaves_is_everything_and_none_leaves_least() -> None:
    assert len(kernels()) > 2000
    assert AllowAten.NONE not in {strictest for _, _, strictest in kernels()}
    assert computes("aten::mm.out")
    assert computes("aten::copy_")
    assert not computes("aten::view")
    assert not computes("aten::empty.memory_format")


def test_a_wrapped_error_still_names_the_operator() -> None:
    reason = ForbiddenComputeError("aten::mm: PyTorch's own compute, which this task forbids (allow_aten: none)")
    wrapped = ValueError("the kernel failed")
    wrapped.__cause__ = reason
    assert named_in(wrapped) == named_in(RuntimeError(f"in C++: {reason}")) == str(reason)
    assert named_in(RuntimeError("aten::mm went wrong")) is None


@contextmanager
def _judge(
    settings: EvaluationSettings, runtime: Runtime, rule: AllowAten, source: str = TASK.source
) -> Iterator[Pipeline]:
    task = Task(name="ruled", source=source, allow_aten=rule)
    pipeline = Pipeline(task, CpuDevice(), settings.model_copy(update={"run_timeout": 20.0}), runtime=runtime)
    try:
        yield pipeline
    finally:
        pipeline.close()


@pytest.fixture(scope="module")
def strict(settings: EvaluationSettings, runtime: Runtime) -> Iterator[Pipeline]:
    with _judge(settings, runtime, AllowAten.NONE) as pipeline:
        yield pipeline


def _summary(verdict: Evaluation) -> str:
    return verdict.diagnosis.summary if verdict.diagnosis else ""


def test_a_kernel_in_cpp_passes_and_none_of_its_work_is_pytorchs(strict: Pipeline) -> None:
    verdict = strict.evaluate(CPP, variants=True)
    assert verdict.status is Status.OK, verdict.diagnosis
    assert verdict.aten is not None
    assert verdict.aten.share == 0


def test_a_forbidden_operator_is_cheating_and_is_named(strict: Pipeline) -> None:
    verdict = strict.evaluate(python_kernel("return torch.nn.functional.silu(x) * y * self.scale"))
    assert verdict.status is Status.CHEATING
    assert _summary(verdict) == (
        "forward called aten::silu: PyTorch's own compute, which this task forbids (allow_aten: none)"
    )
    assert verdict.diagnosis is not None
    assert "line 12, in forward" in verdict.diagnosis.details


def test_a_kernel_that_computes_itself_when_it_is_refused_passes(strict: Pipeline) -> None:
    call = "_LIBRARY.run(x.data_ptr()"
    assert call in CPP.source
    fallback = "try:\n            torch.mul(x, y, out=out)\n        except RuntimeError:\n            pass\n        "
    verdict = strict.evaluate(Kernel(language="cpp", source=CPP.source.replace(call, fallback + call)))
    assert verdict.status is Status.OK, verdict.diagnosis


@pytest.mark.parametrize(
    "top",
    [
        "KERNEL = torch.library.get_kernel('aten::mul.Tensor', 'CPU')",
        "MODULE = torch._C._jit_to_static_module(torch.jit.script(nn.SiLU()).graph)",
    ],
)
def test_what_would_keep_the_kernels_of_pytorch_is_gone_when_a_candidate_is_loaded(strict: Pipeline, top: str) -> None:
    verdict = strict.evaluate(python_kernel("return torch.nn.functional.silu(x) * y * self.scale", top))
    assert verdict.status in (Status.RUNTIME_ERROR, Status.CHEATING)


def test_compute_that_a_candidate_makes_possible_again_is_noticed(strict: Pipeline) -> None:
    undone = textwrap.indent(
        "if not hasattr(self, 'undone'):\n"
        "    self.undone = torch.library.Library('aten', 'IMPL')\n"
        "    self.undone.impl('mm', lambda a, b: torch.empty(1), 'CPU')\n",
        8 * " ",
    ).strip()
    source = CPP.source.replace("out = torch.empty_like(x)\n", f"{undone}\n        out = torch.empty_like(x)\n")
    verdict = strict.evaluate(Kernel(language="cpp", source=source))
    assert verdict.status is Status.CHEATING
    assert "re-enabled" in _summary(verdict)


def test_weights_may_be_packed_with_pytorch_in_the_constructor(settings: EvaluationSettings, runtime: Runtime) -> None:
    with _judge(settings, runtime, AllowAten.HELPERS) as pipeline:
        kernel = CPP.source.replace("torch.randn(256))", "torch.randn(256).mul(2).div(2))")
        verdict = pipeline.evaluate(Kernel(language="cpp", source=kernel))
        assert verdict.status is Status.OK, verdict.diagnosis
        moved = pipeline.evaluate(python_kernel("return torch.cat([x, y]).clone() * 2"))
        assert moved.status is Status.CHEATING
        assert "aten::mul" in _summary(moved)


def test_models_with_state_are_built_again_under_a_rule(settings: EvaluationSettings, runtime: Runtime) -> None:
    counting = TASK.source.replace(
        "self.scale = nn.Parameter(torch.randn(256))",
        "self.scale = nn.Parameter(torch.randn(256)); self.register_buffer('calls', torch.zeros(()))",
    ).replace("return torch", "self.calls += 1\n        return (self.calls * 0 + 1) * torch")
    with _judge(settings, runtime, AllowAten.NONE, counting) as pipeline:
        assert pipeline.strict.reference().main.later is not None
        verdict = pipeline.evaluate(CPP)
        assert verdict.status is Status.OK, verdict.diagnosis


def test_without_a_rule_the_share_of_pytorch_is_told(pipeline: Pipeline) -> None:
    verdict = pipeline.evaluate(python_kernel("return torch.nn.functional.silu(x) * y * self.scale"), variants=True)
    assert verdict.aten is not None
    assert verdict.aten.share > 0.2
    assert set(verdict.aten.operators) == {"aten::silu", "aten::mul.Tensor"}
    assert pipeline.evaluate(CPP).aten is None
