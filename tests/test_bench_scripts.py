"""The benchmarks run and report whole, finite numbers. How large those are is never asserted."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlkd_run.errors import ConfigError

SCRIPTS = Path(__file__).parent.parent / "scripts"
SPREAD = {"median", "least", "most", "values"}


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(SCRIPTS.parent)
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": paths},
    )


QUICK = ("--quick", "--policies", "rlkd", "--json", "result.json")


def result() -> dict[str, Any]:
    """What the script has left, which holds nothing but finite numbers."""
    found: dict[str, Any] = json.loads(Path("result.json").read_text())
    assert found["machine"]["cores"] >= 1
    assert found["packages"]["torch"]
    assert all(math.isfinite(number) for number in numbers(found))
    return found


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


def test_the_benchmark_compares_with_the_reference_loop() -> None:
    done = run("bench.py", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "machine " in done.stdout
    cases = result()["cases"]
    loop, project = "resnet14-resnet8 kd rlkd (reference loop)", "resnet14-resnet8 kd rlkd"
    assert list(cases) == [loop, project]
    for name, case in cases.items():
        assert case["ms_per_step"].keys() == SPREAD
        assert len(case["ms_per_step"]["values"]) == 2
        assert case["ms_per_step"]["least"] > 0
        assert case["memory"]["peak_mib"] > 0
        for part in ("data", "teacher", "student forward", "backward", "optimiser", "policy", "loss", "meters"):
            assert case["split_ms"][part] > 0, (name, part)
        assert case["roofline"]["bound_ms"] > 0
    key = "multiply_adds_per_step"
    assert cases[loop]["work"][key] == cases[project]["work"][key]
    # The project's teacher has no batch norms left, which are folded into its convolutions.
    assert cases[loop]["work"]["bytes_per_step"] >= cases[project]["work"]["bytes_per_step"]
    assert cases[loop]["times_reference"] is None
    assert cases[project]["times_reference"].keys() == SPREAD


class Told:
    """Stands in for a `Child` of bench.py: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ready(self) -> None:
        self.asked.append("ready")

    def ask(self, method: str, *arguments: Any) -> Any:
        self.asked.append(method)
        times = dict.fromkeys(("ms_per_step", "images_per_second", "epoch_start_ms", "processor_ms_per_step"), 1.0)
        return times if method == "run" else {"device": "cpu"}

    def close(self) -> None:
        self.asked.append("close")


def test_a_warm_cache_was_filled_by_a_process_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench

    monkeypatch.setattr(bench, "where", lambda *facts: {})
    monkeypatch.setattr(bench, "in_words", lambda found: "")
    given = bench.arguments(["--quick", "--variant", "live:", "--variant", "warm:runtime.teacher_cache=lazy"])
    cases = [case for case in bench.cases_of(given, "folder") if case.policy == "fixed"]
    assert [case.answers for case in cases] == [None, None, "folder/2"]
    first, second = ({case.name: Told() for case in cases} for _ in range(2))
    monkeypatch.setattr(bench.Case, "start", lambda case, *arguments: second[case.name])
    bench.measure(given, cases, dict(first), 0.0)
    loop, live, warm = (case.name for case in cases)
    assert first[warm].asked == ["ready", "facts", "run", "close"]
    assert second[warm].asked[:2] == ["ready", "run"]
    assert second[warm].asked.count("run") == first[live].asked.count("run") == 1 + given.repeats
    assert not second[live].asked
    assert not second[loop].asked


class Here:
    """Stands in for a `Child` without a process: importing torch in another one takes longer than all the rest."""

    def __init__(self, target: str, **arguments: Any) -> None:
        module, name = target.split(":")
        self.made = getattr(importlib.import_module(module), name)(**arguments)

    def ready(self) -> None:
        pass

    def ask(self, method: str, *arguments: Any) -> Any:
        return getattr(self.made, method)(*arguments)

    def close(self) -> None:
        pass


def test_growth_is_told_by_slopes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import growth

    monkeypatch.setattr(growth, "Child", Here)
    monkeypatch.setattr(sys, "argv", ["growth.py", *QUICK])
    assert growth.main() == 0
    assert "From 32 to 64 images" in capsys.readouterr().out
    policy = result()["policies"]["rlkd"]
    assert [size["images"] for size in policy["sizes"]] == [32, 64]
    assert [epoch["epoch"] for epoch in policy["epochs"]] == [21, 239, 21]
    assert all(epoch["resident_mib"] > 0 for epoch in policy["epochs"])
    assert policy["conclusion"]["time_over_sizes_percent"].keys() == SPREAD


class Loop:
    """Stands in for the reference loop: notes, epoch by epoch, whether an agent acts and learns."""

    def __init__(self, *parts: Any) -> None:
        *_, self.batch_size, self.agent, _ = parts
        self.told: list[tuple[bool, bool]] = []

    def run(self, steps: int, learns: bool) -> Iterator[None]:
        self.told.append((self.agent is not None, learns))
        return iter([None] * steps)


def test_the_reference_loops_agent_acts_when_the_projects_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # and put back
    import reference_loop
    from bench_parts.measured import Reference

    monkeypatch.setattr(reference_loop, "ReferenceLoop", Loop)
    overrides = ["teacher=resnet8", "student=resnet8", "temperature=rlkd", "recipe.batch_size=4", "runtime.device=cpu"]
    reference: Any = Reference(overrides, 8, None, agent=True)
    for epoch in (19, 20, 21):
        reference.train(2, epoch, lambda images: None)
    assert reference.loop.told == [(False, False), (True, True), (True, False)]


NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_every_script_has_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: {name}.py")
    assert script.__doc__.splitlines()[0] in told


def test_the_drift_of_agents_has_a_line_an_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import agent_drift

    monkeypatch.setattr(agent_drift, "IMAGES", 1280)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "agent_drift.py",
            "2",
            "3",
            "agent.hidden=8",
            "agent.t_max=5",
            "agent.mean_bound=0.1",
            "runtime.num_threads=1",
        ],
    )
    agent_drift.main()
    told, _, *lines = capsys.readouterr().out.splitlines()
    assert "within 2.90 and 3.10" in told
    assert len(lines) == 3
    for epoch, line in enumerate(lines, 1):
        number, mean, least, most, share, _, low, high = line.split()
        assert int(number) == epoch
        assert 2.5 < float(least) <= float(mean) <= float(most) < 4.5
        assert 0 <= float(share) <= 100
        assert int(low) + int(high) <= 2


def test_every_kind_of_step_on_a_gpu_has_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import gpu_steps

    monkeypatch.setattr(gpu_steps, "MEMBERS", (1, 2))
    monkeypatch.setattr(gpu_steps, "PRECISION", {"bf16": gpu_steps.PRECISION["bf16"]})
    small = ["--pair", "resnet8-resnet8", "--batch", "8", "--images", "32", "--steps", "2", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["gpu_steps.py", *small, "--variants", "fp32, branches"])
    images = gpu_steps.measured.raw_images
    gpu_steps.main()
    gpu_steps.measured.raw_images = images
    tables = capsys.readouterr().out.split("\n\n")
    assert tables[1::2] == [
        "Warm", "Live", "The teacher's own training", "Rounds of several runs, ms", "Views a second"
    ]  # fmt: skip
    figures = [
        float(figure)
        for table in tables[2::2]
        for line in table.splitlines()[2:]
        for cell in line.split("|")[2:-1]
        for figure in re.findall(r"[\d.]+", cell)
    ]
    assert len(figures) == 2 * 5 + 5 + 5 + 2 * 2 + 1  # of a round also what the host takes
    assert all(figure >= 0 for figure in figures)


@pytest.mark.parametrize(
    ("script", "arguments", "complaint"),
    [
        ("bench.py", ["--override", "runtime.channel_last=false"], "runtime.channels_last"),
        ("bench.py", ["--variant", "runtime.channels_last=false"], "LABEL:OVERRIDES"),
        ("bench.py", ["--images", "64"], "--steps"),
        ("bench.py", ["--steps", "0"], "--steps: must be at least 2, not 0"),
        ("bench.py", ["--override", "seed=0,1"], "sweep over 2"),
        ("bench.py", ["--policies", "rlkd", "--override", "temperature=fixed"], "temperature is part of a case's name"),
        ("bench.py", ["--json", "nowhere/bench.json"], "nowhere is not a folder"),
        ("growth.py", ["--pair", "resnet56"], "TEACHER-STUDENT"),
        ("growth.py", ["--batch", "0"], "--batch: must be at least 1, not 0"),
        ("growth.py", ["--override", "recipe.batch_size=128"], "set by --batch"),
        ("growth.py", ["--json", "."], ". is a folder"),
        ("gpu_steps.py", ["--pair", "resnet56"], "TEACHER-STUDENT"),
        (
            "gpu_steps.py",
            ["--only", "teacher", "--variants", "bf16"],
            "a teacher is always trained in fp32, and none of the --variants is",
        ),
        ("gpu_steps.py", ["--images", "128", "--steps", "3"], "--images 128 is less than --steps 3 of --batch 64"),
        ("agent_drift.py", ["1", "1", "agent.hiden=8"], "agent.hidden"),
        ("agent_drift.py", ["0"], "SEEDS: must be at least 1, not 0"),
        ("cost.py", ["2", "1", "recip.lr=1"], "recipe.lr"),
        ("cost.py", ["2", "1", "dataset=digits"], "dataset=digits: what is measured here are images of CIFAR-100's"),
        ("cost.py", ["2", "1", "temperature=rlkd"], "are held against each other; no override sets it"),
        ("cost.py", ["two"], "STEPS: 'two' is not a whole number"),
        ("method_cost.py", ["0"], "STEPS: must be at least 1, not 0"),
        ("image_cost.py", ["nowhere"], "dataset.root=nowhere is not a folder"),
        ("image_cost.py", [".", "1"], "STEPS: must be at least 2, not 1"),
        ("startup.py", ["0"], "REPEATS: must be at least 1, not 0"),
        ("table_cost.py", ["0"], "FOLDERS: must be at least 1, not 0"),
        ("add_to_zoo.py", ["nowhere"], "nowhere/result.json cannot be read"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    script: str,
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_mistake_that_a_measured_process_finds_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench_parts.child import Child

    child = Child("bench_parts.cases:one_run", overrides=["seed=0,1"])
    with pytest.raises(ConfigError, match=r"^one run is measured at a time"):
        child.ready()
    child.close()


class TestParts:
    """The parts that need no process of their own."""

    @pytest.fixture(autouse=True)
    def _path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(SCRIPTS))

    def test_the_outermost_span_counts(self) -> None:
        from bench_parts.spans import Spans

        spans = Spans(lambda: None)
        inner = spans.timed("backward", lambda: 1)
        assert spans.timed("policy", inner)() == 1
        assert spans.seconds["policy"] > 0
        assert spans.seconds["backward"] == 0

    def test_what_was_patched_is_put_back(self) -> None:
        from bench_parts.spans import patched

        class Owner:
            def method(self) -> int:
                return 1

        owner = Owner()
        with patched((owner, "method", lambda _: lambda: 2), (owner, "absent", lambda _: None), (None, "x", id)):
            assert owner.method() == 2
        assert owner.method() == 1
        assert not vars(owner)

    def test_variants_reach_the_project_and_not_the_reference(self) -> None:
        from bench_parts.cases import Variant, plan

        variants = [Variant.parse("default:"), Variant.parse("plain:runtime.channels_last=false seed=1")]
        cases = plan(["a-b"], ["kd", "dkd"], ["fixed", "cosine"], variants, 8, ["seed=2"], reference=True)
        assert [case.kind for case in cases].count("reference") == 1
        reference, first, second = cases[:3]
        assert first.overrides == reference.overrides
        assert second.overrides == (*reference.overrides, "runtime.channels_last=false", "seed=1")
        assert second.reference == reference.name
        assert second.first == first.name
        assert all(case.reference is None for case in cases[3:])

    def test_busy_time_counts_overlap_once(self) -> None:
        from bench_parts.kernels import summary

        events = [
            {"cat": "kernel", "ts": 0.0, "dur": 4000.0},
            {"cat": "kernel", "ts": 1000.0, "dur": 1000.0},
            {"cat": "gpu_memcpy", "ts": 3000.0, "dur": 3000.0},
            {"cat": "gpu_user_annotation", "ts": 0.0, "dur": 9000.0},
            {"ph": "M"},
        ]
        expected = {"kernels_per_step": 1, "copies_per_step": 0.5, "busy_ms_per_step": 3.0}
        assert summary(events, 2) == expected

    def test_a_slope_is_not_moved_by_one_disturbance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import growth

        assert growth.percent([0, 1, 2, 3, 4, 5], [10, 11, 12, 99, 14, 15]) == pytest.approx(100 * 5 / 13)

    def test_a_machine_that_becomes_slower_is_no_slope_over_epochs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import growth
        from bench_parts.cases import one_run

        config = one_run(["teacher=resnet14", "student=resnet8"])
        for number in (3, 6, 7):
            visited = growth.epoch_numbers(number, config)
            assert (len(visited), visited[0], max(visited)) == (number, 21, 239)
            assert visited == visited[::-1]
            assert growth.percent(visited, [100 + position for position in range(number)]) == pytest.approx(0)
