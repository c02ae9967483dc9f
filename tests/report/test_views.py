"""The live view, the closing table and run.json show what was measured, and nothing else."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from islands.archipelago import Progress
from kernelevolve.core.budget import Budget, Spent
from kernelevolve.core.evaluation import Evaluation, FallbackShare, Measurement, Ratio, Status
from kernelevolve.core.graph import Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.report.best import write_best
from kernelevolve.report.figures import verdict_text
from kernelevolve.report.live import LiveView, counts, left, line, panel
from kernelevolve.report.summary import Best, Summary, count_by_status, table
from kernelevolve.store.snapshot import Improvement, IslandTally

RATIO = Ratio(value=3.21, low=3.1, high=3.33)
MEASURED = Measurement(speedup=RATIO, reference_seconds=3.21e-3, kernel_seconds=1e-3, rounds=20)
NODE = Node(
    id="run.0.7",
    run="run",
    island=0,
    step=7,
    phase=Phase.DRAFT,
    operator="builtin/draft",
    kernel_id="k",
    evaluation=Evaluation(kernel_id="k", task_id="t", device="cpu", status=Status.OK, measurement=MEASURED),
)
BUDGET = Budget(seconds=60, evaluations=100)


def progress(best: Node | None) -> Progress:
    step = Improvement(seconds=4.5, island=1, node_id="n", fitness=3.21, operator="builtin/mutate", note="wider tiles")
    return Progress(
        spent=Spent(seconds=20, evaluations=11, best_fitness=3.21 if best else 0.0),
        fraction=1 / 3,
        nodes=14,
        statuses={Status.OK: 5, Status.CHEATING: 2, Status.TIMEOUT: 1, Status.WRONG_RESULT: 3},
        islands=(IslandTally(island=0, nodes=6, cached=3, best_fitness=3.21, statuses={Status.OK: 5}),),
        best=best,
        improvements=(step,) if best else (),
        reason=None,
        evaluations_per_second=2.5,
        restarts=0,
        done=False,
    )


def drawn(thing: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(thing)
    return file.getvalue()


def summary(best: Best | None) -> Summary:
    return Summary(
        run="run",
        task="dlrm/thing",
        device="cpu",
        seed=0,
        state="done",
        stop="60 s are over",
        best=best,
        evaluations=count_by_status({"status.ok": 5.0, "status.timeout": 1.0}),
        nodes=14,
        seconds={"start": 5.0, "search": 60.0, "final": 10.0, "first_correct": 2.0},
        versions={},
        hardware={},
    )


def best(over_compile: Ratio | None) -> Best:
    return Best(
        node="run.0.7",
        kernel_id="k",
        speedup=RATIO,
        speedup_over_compile=over_compile,
        eager_seconds=3.21e-3,
        kernel_seconds=1e-3,
        compile_note="" if over_compile else "torch.compile failed: SIGSEGV",
        measured="final",
        variants={"rows_37": MEASURED.model_copy(update={"speedup": Ratio(value=1.5, low=1.4, high=1.6)})},
    )


def test_the_panel_shows_where_the_search_stands() -> None:
    text = drawn(panel("dlrm/thing", BUDGET, progress(NODE)))
    for part in ("3.21x (3.10 to 3.33)", "5 good", "4 buggy", "2 cheating", "2.5 evaluations/s", "40 s", "wider tiles"):
        assert part in text


UNSURE = Measurement(
    speedup=None,
    not_measured="other programs used 1.8 of 2 cores",
    rough_speedup=2.9371,
    reference_seconds=3e-3,
    kernel_seconds=1e-3,
    rounds=4,
    disturbed_rounds=4,
)
ROUGH = NODE.model_copy(update={"evaluation": NODE.evaluation.model_copy(update={"measurement": UNSURE})})


def test_a_guess_is_told_as_one() -> None:
    for text in (drawn(panel("dlrm/thing", BUDGET, progress(ROUGH))), line(BUDGET, progress(ROUGH))):
        assert "best about 2.9x (rough)" in text
        assert "2.94x" not in text
    assert ROUGH.fitness == 2.9371


def test_what_could_not_be_measured_is_said_with_the_remedy() -> None:
    unsure = best(None).model_copy(update={"speedup": None, "not_measured": UNSURE.not_measured})
    text = " ".join(drawn(table(summary(unsure), Path("runs/x"))).split())
    assert "not measured: other programs used 1.8 of 2 cores; `kernelevolve measure runs/x` measures again" in text
    assert "1.00x" not in text
    told = json.loads(json.dumps(summary(unsure).to_json()))["best"]
    assert (told["speedup"], told["speedup_interval"]) == (None, None)
    assert told["not_measured"] == "other programs used 1.8 of 2 cores"
    assert verdict_text(UNSURE) == "not measured: other programs used 1.8 of 2 cores"


@pytest.mark.parametrize(
    ("interval", "words"),
    [((0.97, 1.02, 1.07), "cannot tell"), ((0.7, 0.8, 0.9), "slower than eager"), ((1.1, 1.2, 1.3), None)],
)
def test_no_speedup_is_claimed_where_the_interval_reaches_below_one(
    interval: tuple[float, float, float], words: str | None
) -> None:
    ratio = Ratio(low=interval[0], value=interval[1], high=interval[2])
    assert ratio.faster is (words is None)
    said = drawn(table(summary(best(None).model_copy(update={"speedup": ratio})), Path("r")))
    told = verdict_text(MEASURED.model_copy(update={"speedup": ratio}))
    for text in (" ".join(said.split()), told):
        assert (words or "than eager") in text if words else "than eager" not in text


def test_a_summary_comes_back_from_its_file() -> None:
    whole = summary(best(None)).model_copy(update={"dropped": {"k": "wrong"}, "final_note": "broke"})
    back = Summary.from_json(json.loads(json.dumps(whole.to_json())))
    assert back == whole.model_copy(update={"best": None, "dropped": {}, "final_note": ""})


def test_nothing_correct_is_no_number() -> None:
    assert "nothing correct yet" in drawn(panel("dlrm/thing", BUDGET, progress(None)))
    assert "nothing correct yet" in line(BUDGET, progress(None))


def test_counts_and_budget() -> None:
    assert counts(progress(NODE)) == (5, 4, 2)
    assert left(BUDGET, progress(NODE)) == "40 s, 89 evaluations"
    assert left(Budget(), progress(NODE)) == "no limit"


def test_a_log_gets_few_lines_and_no_escapes() -> None:
    file = io.StringIO()
    with LiveView(Console(file=file, width=60), "dlrm/thing", BUDGET) as view:
        for _ in range(20):
            view.update(progress(None))
        for _ in range(20):
            view.update(progress(NODE))
    assert len(file.getvalue().splitlines()) == 2
    assert "\x1b" not in file.getvalue()


def test_a_warning_is_shown_in_the_panel_and_on_lines() -> None:
    text = "process 7 measures and is stopped"
    assert text in drawn(panel("dlrm/thing", BUDGET, progress(NODE), text))
    assert text not in drawn(panel("dlrm/thing", BUDGET, progress(NODE)))
    file = io.StringIO()
    with LiveView(Console(file=file, width=60), "dlrm/thing", BUDGET) as view:
        view.update(progress(NODE), text)
    assert file.getvalue().endswith(f"| {text}\n")


def test_quiet_says_nothing() -> None:
    file = io.StringIO()
    with LiveView(Console(file=file, force_terminal=True), "dlrm/thing", BUDGET, quiet=True) as view:
        view.stage("starting")
        view.update(progress(NODE))
    assert file.getvalue() == ""


@pytest.mark.parametrize("width", [72, 120])
def test_the_table_holds_the_result(width: int) -> None:
    text = drawn(table(summary(best(Ratio(value=1.4, low=1.35, high=1.44))), Path("runs/x")), width)
    for part in ("3.21x (3.10 to 3.33)", "1.40x (1.35 to 1.44)", "75 s", "rows_37 1.50x (1.40 to 1.60)"):
        assert part in text
    assert "runs/x/best/kernel.py" in "".join(text.split())


def test_what_was_not_measured_is_said() -> None:
    assert "not measured" in drawn(table(summary(best(None)), Path("r")))
    assert "torch.compile failed: SIGSEGV" in drawn(table(summary(best(None)), Path("r")))
    nothing = drawn(table(summary(None), Path("r")))
    assert "kernel.py" not in nothing


def test_how_a_run_ended_is_said_in_a_sentence_a_word_and_a_code() -> None:
    slow = best(None).model_copy(update={"speedup": Ratio(value=1.1, low=0.98, high=1.2)})
    wrong = summary(None).model_copy(update={"failures": ((7, "wrong_result: element 3"), (2, "timeout: late"))})
    lost = summary(None).model_copy(update={"dropped": {"abc": "ended by SIGSEGV"}})
    zero = dict.fromkeys(summary(None).evaluations, 0)
    idle = summary(None).model_copy(update={"evaluations": zero, "in_flight": ("builtin/draft was being evaluated",)})
    for case, word, code, said in (
        (summary(best(None)), "faster", 0, ""),
        (summary(slow), "not_faster", 0, "nothing faster than PyTorch was found"),
        (
            wrong,
            "none_correct",
            1,
            "no kernel is correct; the most frequent reason (7 of 9 kernels): wrong_result: element 3",
        ),
        (lost, "none_correct", 1, "no kernel passed the final measurement"),
        (
            idle,
            "nothing_evaluated",
            1,
            f"no kernel was evaluated before the end ({idle.stop}); builtin/draft was being evaluated",
        ),
    ):
        data = case.to_json()
        assert (data["outcome"], data["outcome_text"], case.outcome.exit_code) == (word, said, code)
        assert said in drawn(table(case, Path("r")), 200)
    assert wrong.to_json()["failures"][0] == {"kernels": 7, "reason": "wrong_result: element 3"}


def test_who_was_dropped_at_the_end_is_said() -> None:
    lossy = summary(None).model_copy(update={"dropped": {"abc": "ended by SIGSEGV"}})
    text = drawn(table(lossy, Path("r")))
    assert "no kernel passed the final measurement" in text
    assert "abc: ended by SIGSEGV" in text
    assert lossy.to_json()["final"] == {"note": "", "dropped": {"abc": "ended by SIGSEGV"}}
    skipped = summary(best(None)).model_copy(update={"final_note": "the machine broke"})
    assert "no final measurement: the machine broke" in drawn(table(skipped, Path("r")))


def test_what_the_best_leaves_to_the_reference_is_said() -> None:
    share = FallbackShare(calls=0.25, seconds=0.03)
    told = summary(best(None).model_copy(update={"fallback": share}))
    assert "own operations served 25% of the calls" in drawn(table(told, Path("r")), 200)
    assert told.to_json()["best"]["fallback"] == {"calls": 0.25, "seconds": 0.03}
    assert "own operations" not in drawn(table(summary(best(None)), Path("r")), 200)


def test_run_json_keeps_its_names() -> None:
    data = json.loads(json.dumps(summary(best(None)).to_json()))
    assert {"task", "device", "best", "evaluations", "seconds", "versions", "hardware", "seed", "stop"} <= set(data)
    assert data["best"]["speedup"] == 3.21
    assert data["best"]["speedup_interval"] == [3.1, 3.33]
    assert data["best"]["speedup_over_compile"] is None
    assert data["best"]["compile_note"] == "torch.compile failed: SIGSEGV"
    assert data["best"]["variants"]["rows_37"]["speedup"] == 1.5
    assert data["best"]["variants"]["rows_37"]["speedup_interval"] == [1.4, 1.6]
    assert set(data["evaluations"]) == {str(status) for status in Status}
    assert data["evaluations"]["ok"] == 5
    assert summary(None).to_json()["best"] is None


def test_the_best_folder_works_as_its_readme_says(tmp_path: Path) -> None:
    source = (
        "import torch\n\nclass {name}(torch.nn.Module):\n    def forward(self, x):\n        return x + 1\n\n"
        "def get_inputs():\n    return [torch.ones(2)]\n\ndef get_init_inputs():\n    return []\n"
    )
    task = Task(name="add", source=source.format(name="Model"))
    kernel = Kernel(source=source.format(name="ModelNew"), language="python")
    write_best(tmp_path, task, kernel, best(None))
    readme = (tmp_path / "README.md").read_text()
    snippet = "\n".join(row[4:] for row in readme.split("Use it:")[1].splitlines() if row.startswith("    "))
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tensor([2., 2.])"
