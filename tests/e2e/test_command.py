"""The command from outside: what it prints, what it leaves, how fast it answers without torch."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked
from safetensors.torch import load_file, save_file
from support import TINY, Ended, save_untrained_teacher

from rlkd_run.results.epochs import read_epochs

NO_TORCH = """
import sys
from rlkd_run.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = [name for name in ("torch", "torchvision", "timm", "sklearn", "tensorboard") if name in sys.modules]
    print("heavy:", heavy, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "rlkd-run experiment=quickstart"),
        (["--cfg", "job"], 0, "train_every"),
        (["--cfg", "job", "--resolve", "-p", "agent"], 0, "warmup_epochs: 20"),
        (["--cfg", "job", "-p", "run"], 0, "null"),
        (["--cfg", "job", "-p", "agnt"], 2, "rlkd-run: --package agnt is not in the configuration; did you mean agent"),
        (["--cfg", "hydra", "--resolve", "-p", "hydra.sweep.dir"], 0, "outputs"),
        (["--cfg", "all"], 0, "hydra:"),
        (["--cfg", "job", "seed=3,4", "-p", "seed"], 0, "3\nrlkd-run: this is the first of 2 jobs."),
        (["--cfg", "job", "-m", "seed=3", "-p", "seed"], 0, "3\n"),
        (["--cfg", "job", "experiment=table3", "pair=vgg13-vgg8", "-p", "student.model"], 0, "vgg8\nrlkd-run: this is"),
        (["--version"], 0, "rlkd-run 0."),
        (["-sc", "query=bash"], 0, "teacher=resnet110"),
        (["teacher=resnet57"], 2, "did you mean resnet56?"),
        (["task=export,evaluate", "run=x"], 2, "is not the folder of a finished run"),
        (["task=evaluate", "run={run}", "-m"], 2, "not a sweep."),
        (["teacher.checkpoint=nosuch.pth", "seed=0,1"], 2, "nosuch.pth does not exist"),
        (["recipe.epochs=0", "agent.t_min=11"], 2, "recipe.epochs must be at least 1, not 0."),
    ],
)
def test_answers_without_importing_torch(arguments: list[str], code: int, words: str) -> None:
    Path("result.json").write_text("{}")
    arguments = [argument.format(run=Path.cwd()) for argument in arguments]
    environment = {"COMP_LINE": "rlkd-run teacher=resnet1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
    assert "heavy: []" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m rlkd_run --help | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["student=resnet8", "--cfg", "job"]], ids=["help", "cfg"])
def test_an_answer_without_room_is_one_sentence(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "rlkd_run", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    expected = "rlkd-run: the output cannot be written (No space left on device).\n"
    assert (done.returncode, done.stderr) == (1, expected)


def run_folder() -> Path:
    (folder,) = Path("outputs/runs").iterdir()
    return folder


def test_a_run_leaves_its_records(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*TINY, "runtime.tensorboard=true", "dataset.val_split=0.2")
    assert ended.code == 0, ended.err
    assert "no trained resnet14 found" in ended.out
    assert "| resnet14-resnet8 | kd     | rlkd        |" in ended.out
    folder = run_folder()
    result = json.loads((folder / "result.json").read_text())
    assert result["student"]["name"] == "resnet8"
    assert result["student"]["parameters"] > 77_000
    for network in (result["student"], result["validation"]):
        for measure in ("top1", "top5"):
            assert 0 <= network[measure]["last"] <= 100
        assert network["top1"]["best"] >= network["top1"]["last"]
    assert 0 <= result["teacher"]["top1"] <= 100
    assert (result["seed"], result["epochs"]) == (0, 2)
    assert result["images_per_second"] > 0
    assert result["config"]["agent"]["train_every"] == 1
    assert result["packages"]["torch"]
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        assert 1 < float(row["t_min"]) < float(row["t_mean"]) < float(row["t_max"]) < 10
        assert float(row["agent_updates"]) > 0
    spread = read_epochs(folder / "temperatures.csv")
    assert spread.epochs == (1, 2)
    assert [sum(counts) for counts in zip(*spread.numbered("histogram").values(), strict=True)] == [160, 160]
    assert set(spread.numbered("class")) == set(range(10))
    assert spread.columns["t_min"] == tuple(float(f"{float(row['t_min']):.5g}") for row in rows)
    assert float(rows[-1]["test_top1"]) == result["student"]["top1"]["last"]
    assert all(torch.isfinite(value).all() for value in load_file(folder / "student.safetensors").values())
    assert list((folder / "tensorboard").glob("events*"))
    assert not (folder / "checkpoints").exists()


def test_tensorboard_holds_scalars_and_histograms(rlkd_run: Callable[..., Ended]) -> None:
    rlkd_run(*TINY, "runtime.tensorboard=true")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_folder() / "tensorboard"), size_guidance={"histograms": 0})
    events.Reload()
    assert {"test/top1", "loss/kl", "t/mean", "agent/reward"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Histograms("t/histogram")] == [1, 2]


def test_the_same_command_shows_the_result_without_training(rlkd_run: Callable[..., Ended]) -> None:
    first = rlkd_run(*TINY)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    second = rlkd_run(*TINY)
    assert "finished  before" in second.out
    assert first.out.split("\n\n")[-3:] == second.out.split("\n\n")[-3:]
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_the_teacher_is_trained_once_and_shared(rlkd_run: Callable[..., Ended]) -> None:
    alone = rlkd_run(*TINY, "task=train_teacher")
    assert "| resnet14" in alone.out
    again = rlkd_run(*TINY, "task=train_teacher", "seed=3")
    assert again.out.startswith("note      nothing here depends on seed=3; a teacher's own: teacher.seed\ntrain ")
    assert "finished  before" in again.out
    ended = rlkd_run(*TINY, "temperature=fixed", "seed=5")
    assert "training it first" not in ended.out
    (teacher,) = Path("outputs/teachers").iterdir()
    trained, distilled = (json.loads((folder / "result.json").read_text()) for folder in (teacher, run_folder()))
    assert trained["teacher"]["top1"]["last"] == distilled["teacher"]["top1"]


def test_our_own_weights_serve_as_a_given_teacher(rlkd_run: Callable[..., Ended]) -> None:
    rlkd_run(*TINY, "task=train_teacher")
    (weights,) = Path("outputs/teachers").glob("*/teacher.safetensors")
    ended = rlkd_run(*TINY, f"teacher.checkpoint={weights}")
    assert ended.code == 0, ended.err
    assert f"teacher   {weights}" in ended.out


def test_a_timm_model_learns_from_the_zoo(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*TINY, "student=timm", "student.model=resnet10t", "recipe.epochs=1", "temperature=fixed")
    assert ended.code == 0, ended.err
    assert "| resnet14-resnet10t |" in ended.out


def test_evaluate_and_export(rlkd_run: Callable[..., Ended]) -> None:
    rlkd_run(*TINY)
    folder = run_folder()
    result = json.loads((folder / "result.json").read_text())
    ended = rlkd_run("task=evaluate", f"run={folder}", "runtime.num_threads=1")
    assert ended.code == 0, ended.err
    measured = json.loads((folder / "evaluation.json").read_text())
    assert measured["student"]["top1"] == result["student"]["top1"]["last"]
    assert measured["teacher"]["top1"] == result["teacher"]["top1"]
    ended = rlkd_run("task=export", f"run={folder}")
    assert ended.code == 0, ended.err
    card = json.loads((folder / "export/card.json").read_text())
    assert card["architecture"] == {"source": "zoo", "model": "resnet8"}
    assert card["input"]["shape"] == [3, 8, 8]
    exported, kept = load_file(folder / "export/student.safetensors"), load_file(folder / "student.safetensors")
    assert exported.keys() == kept.keys()
    assert all(torch.equal(exported[name], kept[name]) for name in kept)


def test_a_folder_that_cannot_be_written_is_measured_all_the_same(rlkd_run: Callable[..., Ended]) -> None:
    rlkd_run(*TINY)
    folder = run_folder()
    (folder / "evaluation.json").mkdir()
    ended = rlkd_run("task=evaluate", f"run={folder}")
    assert ended.code == 2
    assert "% top-1" in ended.out
    assert ended.err == f"rlkd-run: {folder}/evaluation.json cannot be written: Is a directory.\n"
    (folder / "export").write_text("")
    ended = rlkd_run("task=export", f"run={folder}")
    assert ended.code == 2
    assert ended.err == f"rlkd-run: {folder}/export cannot be written: File exists.\n"


def test_evaluate_goes_on_without_the_teacher(rlkd_run: Callable[..., Ended]) -> None:
    rlkd_run(*TINY)
    for path in Path("outputs/teachers").rglob("*"):
        if path.is_file():
            path.unlink()
    ended = rlkd_run("task=evaluate", f"run={run_folder()}")
    assert ended.code == 0, ended.err
    (teacher,) = Path("outputs/teachers").iterdir()
    assert f"teacher   not measured: no weights in {teacher}\nstudent   resnet8: " in ended.out


def test_evaluate_does_not_measure_another_teacher(rlkd_run: Callable[..., Ended]) -> None:
    save_untrained_teacher()
    given = Path("teacher.safetensors")
    rlkd_run(*TINY, f"teacher.checkpoint={given}", "temperature=fixed")
    whole = rlkd_run("task=evaluate", f"run={run_folder()}")
    assert "\nteacher   resnet14: " in whole.out
    weights = load_file(given)
    save_file({name: value * 1.5 for name, value in weights.items()}, given)
    others = rlkd_run("task=evaluate", f"run={run_folder()}")
    told = f"teacher   not measured: {given} holds other weights now than when the run learnt from them\n"
    assert others.out == whole.out.replace("student ", f"{told}student ").replace(whole.out.split("\n")[-3] + "\n", "")
    assert set(json.loads((run_folder() / "evaluation.json").read_text())) == {"student"}
    given.write_bytes(given.read_bytes()[:5000])
    damaged = rlkd_run("task=evaluate", f"run={run_folder()}")
    assert damaged.code == 0
    assert f"teacher   not measured: teacher.checkpoint: {given} is truncated" in damaged.out


def test_onnx_gives_the_same_logits(rlkd_run: Callable[..., Ended], recwarn: pytest.WarningsRecorder) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    import warnings

    rlkd_run(*TINY)
    folder = run_folder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        ended = rlkd_run("task=export", "task.onnx=true", f"run={folder}")
    assert ended.code == 0, ended.err
    session = runtime.InferenceSession(str(folder / "export/student.onnx"), providers=["CPUExecutionProvider"])
    from rlkd_run.models.build import build_model
    from rlkd_run.models.weights import load_weights

    model = build_model("zoo", "resnet8", 10).eval()
    load_weights(model, folder / "student.safetensors", what="student")
    images = torch.randn(5, 3, 8, 8)
    (logits,) = session.run(None, {"images": images.numpy()})
    assert torch.allclose(torch.from_numpy(logits), model(images), atol=1e-4)


class SerdeError(RuntimeError):
    """As onnxscript raises where protobuf cannot write what torch translated."""


class Unwritable:
    def save(self, path: Path) -> None:
        raise SerdeError("Expected an int, got a boolean\nand a page more")


@pytest.mark.parametrize("while_saving", [False, True])
def test_an_exporter_that_gives_up_is_a_sentence(
    while_saving: bool, rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")

    def gives_up(*arguments: Any, **options: Any) -> Unwritable:
        if while_saving:
            return Unwritable()
        raise torch.onnx.OnnxExporterError("no such operator\nand a page more")

    rlkd_run(*TINY)
    monkeypatch.setattr(torch.onnx, "export", gives_up)
    ended = rlkd_run("task=export", "task.onnx=true", f"run={run_folder()}")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "could not translate the student to ONNX" in ended.err
    assert ("got a boolean" if while_saving else "no such operator") in ended.err
    assert {path.name for path in (run_folder() / "export").iterdir()} == {"student.safetensors", "card.json"}


def test_a_loss_that_is_not_finite_stops_the_run(rlkd_run: Callable[..., Ended]) -> None:
    rlkd_run(*TINY, "task=train_teacher")
    ended = rlkd_run(*TINY, "recipe.lr=1e30", "temperature=fixed")
    assert ended.code == 1
    (line,) = ended.err.strip().splitlines()
    assert line.startswith("rlkd-run: The loss is not finite since step ")
    assert "; a smaller recipe.lr usually helps." in line
    assert json.loads((run_folder() / "status.json").read_text())["state"] == "failed"


def test_a_teacher_whose_loss_is_not_finite_names_its_own_learning_rate(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*TINY, "task=train_teacher", "teacher.recipe.epochs=1", "teacher.recipe.lr=1e30")
    assert ended.code == 1
    assert "; a smaller teacher.recipe.lr usually helps." in ended.err
    assert "train     resnet14 on digits, 1 epoch, seed 0\n" in ended.out


def test_a_sweep_runs_every_job_and_only_what_is_missing(rlkd_run_process: Callable[..., Ended]) -> None:
    sweep = [*TINY, "seed=0,1", "temperature=rlkd"]
    first = rlkd_run_process(*sweep)
    assert first.code == 0, first.err
    assert "sweep     2 done, 0 failed, 0 skipped" in first.out
    *_, row = [line for line in first.out.splitlines() if line.startswith("| resnet14-resnet8")]
    assert "±" in row
    second = rlkd_run_process(*sweep)
    assert "sweep     2 runs, 2 finished before" in second.out
    assert "---" not in second.out.split("| ---")[0]


def test_mistakes_in_a_sweep_are_found_before_anything_runs(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*TINY, "recipe.lr=0.1,-1", "teacher=resnet14,resnet15")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 2
    assert not list(Path().iterdir())


PLUGIN = """
from rlkd_run.config.registry import TEMPERATURES
from rlkd_run.config.temperatures import FixedOptions

TEMPERATURES.register("mine", FixedOptions, "my_policy_class:Mine")
"""
PLUGIN_CLASS = """
from rlkd_run.temperature.fixed import Fixed


class Mine(Fixed):
    pass
"""


def test_a_third_party_registers_its_own(rlkd_run_process: Callable[..., Ended]) -> None:
    Path("my_policy.py").write_text(PLUGIN)
    Path("my_policy_class.py").write_text(PLUGIN_CLASS)
    Path("my_conf/temperature").mkdir(parents=True)
    Path("my_conf/temperature/mine.yaml").write_text("name: mine\nvalue: 2.5\n")
    own = ["--plugin", "my_policy", "--config-dir", "my_conf", "temperature=mine"]
    ended = rlkd_run_process(*TINY, *own, PYTHONPATH=f"{Path.cwd()}:{Path(__file__).parents[2]}")
    assert ended.code == 0, ended.err
    assert "T 2.50±0.00" in ended.out


def test_the_same_command_twice_is_refused_before_the_teacher_is_waited_for(rlkd_run: Callable[..., Ended]) -> None:
    run = [*TINY, "teacher.recipe.epochs=1000"]
    first = Forked(*run)
    while not list(Path("outputs/teachers").glob("*/status.json")):
        assert first.ended(within=0.01) is None, first.err
    (status,) = Path("outputs/runs").glob("*/status.json")
    assert json.loads(status.read_text())["phase"] == "its teacher is being trained"
    second = rlkd_run(*run)
    first.send_signal(signal.SIGTERM)
    assert first.ended(within=60) == 143, first.err
    assert second.code == 2
    assert "is being worked on by process" in second.err
    assert "waiting for" not in second.out
    for kind in ("runs", "teachers"):
        (status,) = Path("outputs", kind).glob("*/status.json")
        assert json.loads(status.read_text())["state"] == "interrupted"
