"""The scripts of single figures measure what they are told to, and the zoo takes what its card describes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from rlkd_run.errors import ConfigError

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"


@pytest.mark.parametrize(
    ("overrides", "counts"),
    [
        ([], {"warm-up": 19, "agent acts": 209, "agent learns": 6, "agent learns on mixed images": 6}),
        (
            ["agent.warmup_epochs=40", "agent.train_every=10"],
            {"warm-up": 39, "agent acts": 180, "agent learns": 12, "agent learns on mixed images": 9},
        ),
        (["agent.exploration.epochs=none"], {"warm-up": 19, "agent acts": 209, "agent learns": 12}),
    ],
)
def test_the_agents_cost_is_told_for_the_kinds_of_epoch_that_its_schedule_has(
    overrides: list[str], counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import cost
    from bench_parts.cases import one_run

    kinds = cost.kinds_of(one_run([cost.PAIR, "temperature=rlkd", *overrides]))
    assert {name: kind.count for name, kind in kinds.items()} == {
        cost.FIXED: 0,
        **{f"RLKD, {name}": count for name, count in counts.items()},
    }


def test_the_agents_cost_is_measured_as_the_overrides_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import cost

    from rlkd_run.models.features import Network

    compiled: list[Network] = []
    monkeypatch.setattr(Network, "compile", lambda network, *sizes: compiled.append(network))
    monkeypatch.setattr(cost, "PAIR", "student=resnet8")
    options = ("teacher=resnet8", "recipe.batch_size=8", "runtime.compile=all", "runtime.teacher_cache=lazy")
    project = cost.make(2, "temperature=fixed", *options)
    assert project.objective.student in compiled
    assert cost.ms_per_step(project.trainer, 3) > 0
    assert project.trainer.meter.images == 16
    assert not list(Path().iterdir()), "kept answers go to a folder of their own"
    project.objective.answers.close()
    project._own.cleanup()


def test_a_compiled_step_on_image_files_is_measured_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import image_cost

    from rlkd_run.layer_rates import LayerRates
    from rlkd_run.models.features import Network

    for part in ("train", "val"):
        for place in (Path(part, name) for name in "ab"):
            place.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8)).save(place / f"{number}.png")
    compiled: list[Network] = []
    monkeypatch.setattr(Network, "compile", lambda network, *sizes: compiled.append(network))
    updated: list[LayerRates] = []
    monkeypatch.setattr(LayerRates, "update", lambda rates, groups: updated.append(rates))
    monkeypatch.setattr(image_cost, "PAIR", ["teacher=resnet14", "student=resnet8", "temperature=fixed"])
    small = ["recipe.batch_size=2", "dataset.image_size=32", "runtime.num_workers=0"]
    options = ["runtime.compile=all", "recipe.lr_policy=tempbalance"]
    monkeypatch.setattr(sys, "argv", ["image_cost.py", ".", "2", "1", *small, *options])
    assert image_cost.main() == 0
    assert len(compiled) == 2, "teacher and student"
    assert len(updated) == 2, "once an epoch: of one batch again and again, and of the loader's"
    told = capsys.readouterr().out
    assert "resnet14 -> resnet8, 32 pixels, batch 2, cpu" in told
    assert re.search(r"^the limit is the (loader|step)$", told, re.MULTILINE)


def test_the_zoo_takes_no_teacher_that_its_cards_command_would_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import add_to_zoo

    (record,) = (ROOT / "results" / "table1_quick").glob("cifar100-resnet56-seed0-*")  # of four epochs
    folder = Path("teachers", record.name)
    folder.mkdir(parents=True)
    shutil.copy(record / "result.json", folder)
    save_file({}, folder / "teacher.safetensors")
    monkeypatch.setattr(add_to_zoo, "__file__", str(Path("scripts", "add_to_zoo.py").resolve()))
    monkeypatch.setattr(sys, "argv", ["add_to_zoo.py", str(folder)])
    with pytest.raises(ConfigError, match="not the teacher that `rlkd-run task=train_teacher dataset=cifar100 "):
        add_to_zoo.main()
    assert not Path("zoo").exists()


def test_an_environment_whose_making_was_interrupted_is_made_anew() -> None:
    def program(path: str, text: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"#!/bin/sh\n{text}\n")
        Path(path).chmod(0o755)

    Path("scripts").mkdir()
    shutil.copy(SCRIPTS / "_environment", "scripts")
    shutil.copy(ROOT / "pyproject.toml", ".")
    program(".venv/bin/python", "echo No module named pip >&2; exit 1")
    program("whole", "exit 0")
    program("path/python3.13", "[ $1 = -c ] || { cp whole .venv/bin/python; cp whole .venv/bin/pip; }")
    path = os.pathsep.join([str(Path("path").resolve()), os.environ["PATH"]])
    command = ["bash", "-c", ". scripts/_environment"]
    first, second = (
        subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert "making .venv" in first.stdout
    assert second.returncode == 0
    assert not second.stdout, "what is there stays"


def test_a_borrowed_gpu_is_used_part_by_part(tmp_path: Path) -> None:
    python, out = tmp_path / "python", tmp_path / "out"
    python.write_text(
        '#!/bin/sh\ncase "$*" in -c*) exit 1 ;; esac\necho "$1"\ncase "$1" in *growth.py) exit 3 ;; esac\n'
    )
    python.chmod(0o755)

    def check(*parts: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "PYTHON": str(python), "OUT": str(out)}
        return subprocess.run(
            [SCRIPTS / "gpu_check", *parts], capture_output=True, text=True, env=variables, check=False
        )

    done = check("growth", "bench")
    assert done.returncode == 1
    assert "No GPU here" in done.stderr
    assert (out / "bench.txt").read_text() == "scripts/bench.py\n"
    summary = (out / "summary.txt").read_text().splitlines()
    assert [re.sub(r"\d+ s", "S", line) for line in summary] == ["== growth: S, exit 3", "== bench: S, exit 0"]
    assert done.stdout.splitlines()[-2:] == summary
    unknown = check("nothing")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.splitlines()[-1].startswith("nothing: no part of it")
