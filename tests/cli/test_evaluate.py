"""`kernelevolve evaluate` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import call
from tests.small_task import SOURCE, kernel

RIGHT = kernel()
WRONG = kernel(factor=3.0)
QUICK = ("evaluation.final.max_seconds=0.3",)
LOOSE = ("--preset", "kernelbench", "evaluation.kernelbench.timed_calls=5", "evaluation.kernelbench.flush_mb=1")
FORWARD = "return torch.nn.functional.gelu(x) * 2.0"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "task.py"
    path.write_text(SOURCE)
    return path


def kernels(folder: Path, **sources: str | bytes) -> Path:
    folder.mkdir()
    for name, source in sources.items():
        (folder / f"{name}.py").write_bytes(source if isinstance(source, bytes) else source.encode())
    (folder / "notes.txt").write_text("no kernel")
    return folder


def test_a_folder_is_judged_in_order_whatever_it_holds(task: Path) -> None:
    folder = kernels(
        task.parent / "kernels",
        a_right=RIGHT,
        b_empty="",
        c_binary=bytes(range(256)) * 8,
        d_long=RIGHT + "# long\n" * (10_000_000 // 7),
        e_without="class Model: pass",
        f_wrong=WRONG,
    )
    done = call("evaluate", str(task), str(folder), "--json", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert [Path(one["kernel"]).stem for one in told] == sorted(path.stem for path in folder.glob("*.py"))
    assert [one["status"] for one in told] == ["ok", *["invalid_source"] * 4, "wrong_result"]
    said = [one["diagnosis"]["summary"] for one in told[1:5]]
    for words, text in zip(("empty", "no valid Python", "longer than", "no class ModelNew"), said, strict=True):
        assert words in text
    first = told[0]
    assert first["protocol"] == "strict"
    if first["speedup"] is None:
        assert first["not_measured"]
        assert first["speedup_interval"] is None
    else:
        assert first["speedup_interval"][0] <= first["speedup"] <= first["speedup_interval"][1]
        assert first["not_measured"] is None
    assert {"foreign_share", "steal_share", "disturbed", "repeats"} <= set(first["machine"])
    assert told[1]["machine"] is None


def test_kernels_are_told_apart_and_rules_named(task: Path) -> None:
    right, wrong = task.parent / "right.py", task.parent / "wrong.py"
    right.write_text(RIGHT)
    wrong.write_text(WRONG)
    done = call("evaluate", str(task), str(wrong), str(right), *LOOSE)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("evaluated by KernelBench's rules: ")
    assert lines[1].startswith(f"{wrong}: wrong_result (correctness): 5 of 5 trials differ")
    assert any(line.startswith(f"{right}: ok: ") for line in lines)
    assert lines[-1].startswith("fast_0 0.50, fast_1 ")
    assert lines[-1].endswith("of 2 kernels")


def test_one_kernel_is_one_object(task: Path) -> None:
    kernel = task.parent / "kernel.py"
    kernel.write_text(WRONG)
    told = json.loads(call("evaluate", str(task), str(kernel), "--json", *LOOSE).stdout)
    assert {"status", "speedup", "speedup_interval", "diagnosis"} <= set(told)
    assert (told["status"], told["protocol"]) == ("wrong_result", "kernelbench")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{task}"], "arguments are required: kernel"),
        (["{task}", "seed=1"], "which kernel?"),
        (["{task}", "{task}", "{task}.gone"], "task.py.gone cannot be read"),
        (["{task}", "{folder}/none"], "holds no *.py file"),
        (["{task}", "{task}", "--preset", "loose"], "strict"),
        (["{task}", "{task}", "--preset", "strict", "evaluation=kernelbench"], "give one of them"),
        (
            ["{task}", "{task}", "device=cuda"],
            "device=cuda: there is no such option; device is one of amd, auto, cpu, nvidia",
        ),
        (["{task}", "{task}", "evaluation.protocol=loose"], "evaluation.protocol"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_judged(task: Path, words: list[str], said: str) -> None:
    (task.parent / "none").mkdir()
    done = call("evaluate", *(word.format(task=task, folder=task.parent) for word in words))
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        ("kept.append(x * 2.0); return kept[-1] + 0", "the reference leaks: its process grows by "),
        ("return x * torch.rand(1)", "not deterministic"),
        (
            "return x + torch.rand(1) * (x == 0)",
            "not deterministic: forward draws random numbers, which change its result",
        ),
        ("y = x * 2.0; x.unsqueeze_(0); return y", "forward gives input 0 another shape in place"),
        ("__import__('time').sleep(9); return x", "takes longer than 2 s"),
    ],
)
def test_a_task_that_cannot_be_judged_by_is_one_line(task: Path, forward: str, said: str) -> None:
    task.write_text(SOURCE.replace(FORWARD, forward).replace("class Model", "kept = []\n\n\nclass Model"))
    kernel = task.parent / "kernel.py"
    kernel.write_text(RIGHT)
    done = call("evaluate", str(task), str(kernel), "evaluation.run_timeout=1")
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
