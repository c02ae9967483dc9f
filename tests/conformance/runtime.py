"""What every runtime and its runners must do; a test module derives from `RuntimeConformance`."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from evaluators.runtime.base import BlockResult, Noise, Runner, Runtime, TimedBlock
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.runtime.layout import layout_of
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Task

TASK = Task(
    name="scaled",
    source="""import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.randn(8))

    def forward(self, x):
        return x * self.scale


def get_inputs():
    return [torch.randn(4, 8)]


def get_init_inputs():
    return []
""",
)
INPUTS = [{"dtype": "float32", "shape": [4, 8], "stride": [8, 1]}]
ROOM = layout_of(INPUTS, 8).total_bytes


def kernel(forward: str, top: str = "import time, torch") -> str:
    """A kernel of `TASK` whose forward(self, x) has this body."""
    return (
        f"{top}\n\n\nclass ModelNew(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.scale = torch.nn.Parameter(torch.randn(8))\n\n    def forward(self, x):\n        {forward}\n"
    )


class RuntimeConformance(ABC):
    @classmethod
    @abstractmethod
    def open(cls) -> Runtime:
        """A runtime that is to be closed."""

    @pytest.fixture(scope="class")
    @classmethod
    def runtime(cls) -> Iterator[Runtime]:
        with closing(cls.open()) as made:
            made.start()
            yield made

    @staticmethod
    def spawned(runtime: Runtime, *, trusted: bool = False) -> Runner:
        runner = runtime.spawn(ROOM, trusted=trusted, memory_gb=2.0, processor_seconds=100.0)
        runner.allow(30.0)
        return runner

    def loaded(self, runtime: Runtime, forward: str, slots: int = 3) -> Runner:
        """A runner of a kernel, built, with slots that hold 0, 1, ... everywhere."""
        runner = self.spawned(runtime)
        runner.load_kernel(kernel(forward), TASK, [])
        runner.build()
        runner.lay_out(INPUTS, slots)
        for slot in range(slots):
            runner.write(slot, [torch.full((4, 8), float(slot))])
        return runner

    def test_calls_see_what_was_written_and_results_stay_until_the_next_order(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "return x + 1") as runner:
            found = runner.call([2, 0, 1])
            assert [returned.structure for returned in found] == ["tensor"] * 3
            for returned, expected in zip(found, (3.0, 1.0, 2.0), strict=True):
                (output,) = returned.outputs
                assert (output.dtype, output.shape) == ("float32", (4, 8))
                elements = runner.read(output)
                assert (elements.numel, elements.dtype) == (32, torch.float32)
                assert torch.equal(elements.part(0, 32), torch.full((32,), expected))

    def test_reference_and_kernel_have_the_same_parameters_by_the_seed(self, runtime: Runtime) -> None:
        with self.spawned(runtime, trusted=True) as reference, self.loaded(runtime, "return x * self.scale") as runner:
            reference.load_reference(TASK)
            reference.build()
            reference.lay_out(INPUTS, 1)
            results = []
            for each in (reference, runner):
                each.write(0, [torch.ones(4, 8)])
                results.append(each.read(each.call([0])[0].outputs[0]).part(0, 32).clone())
            assert torch.equal(*results)

    def test_what_a_kernel_does_to_its_inputs_is_seen(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "x.add_(5); return x * 1") as runner:
            runner.call([1])
            assert torch.equal(runner.inputs(1)[0], torch.full((4, 8), 6.0))
            assert torch.equal(runner.inputs(2)[0], torch.full((4, 8), 2.0))

    def test_a_result_that_is_an_input_lies_in_the_memory_of_inputs(self, runtime: Runtime) -> None:
        for forward, inside in (("return x", True), ("return x * 1", False)):
            with self.loaded(runtime, forward) as runner:
                pointer = runner.call([1])[0].outputs[0].pointer
                assert any(first <= pointer < last for first, last in runner.input_memory()) is inside

    @pytest.mark.parametrize(
        ("source", "status", "words"),
        [
            (kernel("raise ValueError('no luck')"), Status.RUNTIME_ERROR, "no luck"),
            (kernel("return x", "import torch\nraise OSError('not here')"), Status.RUNTIME_ERROR, "not here"),
            ("import torch\n", Status.INVALID_SOURCE, "ModelNew"),
            (kernel("return x.to_sparse()"), Status.WRONG_SHAPE, ""),
        ],
    )
    def test_what_a_kernel_does_wrong_is_a_verdict_that_names_the_stage(
        self, runtime: Runtime, source: str, status: Status, words: str
    ) -> None:
        def called() -> None:
            with self.spawned(runtime) as runner:
                runner.stage = "somewhere"
                runner.load_kernel(source, TASK, [])
                runner.build()
                runner.lay_out(INPUTS, 1)
                runner.call([0])

        with pytest.raises(FailedError) as raised:
            called()
        failure = raised.value.failure
        assert (failure.status, failure.stage) == (status, "somewhere")
        assert words in f"{failure.summary}\n{failure.details}"

    def test_a_call_that_does_not_end_is_late_and_its_runner_is_gone(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "time.sleep(60); return x") as runner:
            runner.allow(0.3)
            with pytest.raises(FailedError) as raised:
                runner.call([0])
            assert raised.value.failure.status is Status.TIMEOUT
            assert not runner.alive

    def test_other_parameters_are_exchanged_and_put_back(self, runtime: Runtime) -> None:
        others = {"seed": 5, "constants": {}, "signed": True}
        with self.spawned(runtime) as runner:
            runner.load_kernel(kernel("return x * self.scale"), TASK, [], others=others)
            runner.build()
            runner.lay_out(INPUTS, 1)
            runner.write(0, [torch.ones(4, 8)])

            def result() -> torch.Tensor:
                return runner.read(runner.call([0])[0].outputs[0]).part(0, 32).clone()

            first = result()
            assert runner.use_parameters("made")
            assert not torch.equal(result(), first)
            assert runner.use_parameters("")
            assert torch.equal(result(), first)

    def test_the_mode_of_the_model_can_be_set(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "return x + float(self.training)") as runner:
            runner.set_training(False)
            assert runner.read(runner.call([0])[0].outputs[0]).part(0, 1).item() == 0.0

    def test_a_block_takes_as_long_as_its_calls(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "time.sleep(0.02); return x + 1") as runner:
            found = runtime.run_one(TimedBlock(runner, 3, 1, warm=True))
            assert 0.06 <= found < 0.6

    def test_a_block_gets_its_values_from_the_stage_and_leaves_every_output(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "return x + 1") as runner:
            stage = runtime.stage(layout_of(INPUTS, 3))
            for slot in range(3):
                stage.inputs(slot)[0].fill_(10.0 + slot)
            returned = runner.call([0])[0].outputs[0]
            (result,) = runtime.run([TimedBlock(runner, 3, 1, warm=True, staged=2)])
            assert result.checked().seconds > 0
            assert result.noise in Noise
            addresses = runner.addresses(3)
            assert len(set(addresses)) == 3
            found = [runner.read_run(returned, address, 5, 6).item() for address in addresses]
            assert found == [11.0, 12.0, 3.0], "the third slot was not staged"

    def test_a_runner_that_fails_in_a_block_spoils_none_of_the_others(self, runtime: Runtime) -> None:
        forward = "self.n = getattr(self, 'n', 0) + 1; assert self.n < 3, 'tired'; return x + 1"
        with self.loaded(runtime, forward) as tired, self.loaded(runtime, "return x + 1") as other:
            blocks = [TimedBlock(tired, 3, 1), TimedBlock(other, 3, 1)]
            failed, fine = runtime.run(blocks)
            assert failed.failure is not None
            assert "tired" in failed.failure.summary
            with pytest.raises(FailedError):
                failed.checked()
            assert isinstance(fine, BlockResult)
            assert fine.checked().seconds > 0

    def test_an_interrupted_job_ends_the_runner_that_is_busy(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "time.sleep(60); return x") as runner:
            timer = threading.Timer(0.2, runtime.interrupt)
            timer.start()
            try:
                with pytest.raises(InterruptedJobError):
                    runner.call([0])
                with pytest.raises(InterruptedJobError):
                    self.spawned(runtime)
            finally:
                timer.join()
                runtime.resume()
            assert not runner.alive
        with self.loaded(runtime, "return x + 1") as runner:
            assert runner.call([0])

    def test_a_trusted_runner_hosts_an_object(self, runtime: Runtime) -> None:
        with self.spawned(runtime, trusted=True) as runner:
            runner.host("evaluators.correctness.reference.job:ReferenceJob", task=TASK.model_dump_json())
            found = runner.ask("probe")
            assert found["seconds"] > 0
            assert found["variants"] == 0

    def test_a_trusted_runner_draws_inputs_by_their_seed(self, runtime: Runtime) -> None:
        with self.spawned(runtime, trusted=True) as runner:
            runner.load_reference(TASK, precision="bfloat16")
            first, again, other = (runner.draw(seed).values[0].clone() for seed in (1, 1, 2))
            assert first.dtype is torch.bfloat16
            assert torch.equal(first, again)
            assert not torch.equal(first, other)

    def test_ending_twice_does_nothing(self, runtime: Runtime) -> None:
        runner = self.spawned(runtime)
        runner.end()
        runner.end()
        assert not runner.alive
