"""Where a teacher's weights come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import only
from support import TINY

from rlkd_run import teacher_weights, teachers
from rlkd_run.config.identity import teacher_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.evaluation import Accuracy, evaluate
from rlkd_run.experiment import build, distill, open_data
from rlkd_run.models.weights import load_weights
from rlkd_run.seeding import derive_seed

CPU = torch.device("cpu")


def test_trained_before_shipped_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    config = only(*TINY)
    monkeypatch.setattr(teacher_weights, "zoo_folder", lambda: Path("zoo"))
    assert teacher_weights.find_weights(config) is None
    Path("zoo").mkdir()
    shipped = Path("zoo") / f"{teacher_folder(config).name}.safetensors"
    shipped.write_bytes(b"")
    assert teacher_weights.find_weights(config) == shipped
    trained = teacher_folder(config)
    trained.mkdir(parents=True)
    (trained / "result.json").write_text("{}")
    assert teacher_weights.find_weights(config) == trained / "teacher.safetensors"
    assert teacher_weights.find_weights(only(*TINY, "teacher.checkpoint=x.pth")) == Path("x.pth")


def test_what_was_done_to_a_given_file_is_said() -> None:
    config = only(*TINY, "teacher.checkpoint=t.pth")
    dataset = open_data(config, CPU)
    model = teachers.build(config, dataset, CPU)
    torch.save({"ema": {f"model.{name}": value for name, value in model.state_dict().items()}}, "t.pth")
    assert teachers.equip(config, model, dataset, CPU, print).words == "t.pth (under 'ema', names without 'model.')"


def test_a_nasty_teacher_that_waits_for_its_adversary_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = only(*TINY, "teacher.objective=nasty")
    dataset = open_data(config, CPU)
    train, phases = teachers.train, []

    def watched(trained: RunConfig, *others: Any) -> Path:
        if trained.teacher.objective == "labels":
            phases.append(json.loads((teacher_folder(config) / "status.json").read_text())["phase"])
        return train(trained, *others)

    monkeypatch.setattr(teachers, "train", watched)
    watched(config, dataset, CPU)
    assert phases == ["its adversary is being trained"]


@pytest.mark.parametrize("card", sorted(teacher_weights.zoo_folder().glob("*.json")), ids=lambda path: path.stem)
def test_the_zoo_is_found_by_its_command_and_scores_what_its_card_says(card: Path) -> None:
    facts = json.loads(card.read_text())
    weights = card.with_suffix(".safetensors")
    assert weights.stat().st_size <= 10_000_000
    program, *overrides = facts["command"].split()
    assert program == "rlkd-run"
    config = only(*overrides)
    assert teacher_weights.find_weights(config) == weights
    if facts["dataset"] != "digits":
        pytest.skip("measured on images that do not ship with the project")
    dataset = open_data(config, CPU)
    model = teachers.build(config, dataset, CPU)
    load_weights(model, weights, what="zoo")
    assert evaluate(model, dataset.test_batches(500)).top1 == pytest.approx(facts["accuracy"]["top1"], abs=0.3)


def test_fresh_weights_depend_on_the_teachers_seed_alone() -> None:
    def first_weight(*overrides: str) -> torch.Tensor:
        config = only(*TINY, *overrides)
        return next(teachers.build(config, open_data(config, CPU), CPU).parameters())

    assert torch.equal(first_weight(), first_weight("seed=3"))
    assert not torch.equal(first_weight(), first_weight("teacher.seed=3"))


def test_a_student_of_its_teachers_seed_and_architecture_starts_elsewhere() -> None:
    """And sees other batches: else it would retrace its teacher's training to the last bit."""
    config = only(*TINY, "teacher=resnet8", "student=resnet8", "temperature=fixed")
    assert config.seed == config.teacher.seed
    dataset = open_data(config, CPU)
    teacher = teachers.build(config, dataset, CPU)
    student = build(config, dataset, teacher, CPU).student.model
    assert not torch.equal(next(teacher.parameters()), next(student.parameters()))
    streams = [teachers._stream(config, what) for what in ("weights", "data", "training")]
    assert not {derive_seed(config.seed, what) for what in ("weights", "data", "training")} & set(streams)
    nasty = only(*TINY, "teacher.objective=nasty", "temperature=fixed")
    assert teachers._stream(nasty, "weights") not in streams


def test_a_teacher_far_from_the_literature_is_said_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    zoo = only(*TINY, "teacher=resnet56")
    dataset = open_data(zoo, CPU)
    teachers.warn_if_far(zoo, dataset, Accuracy(30.0, 60.0))
    assert capsys.readouterr().out == ""  # nobody reports it on digits
    dataset.name = "cifar100"
    teachers.warn_if_far(zoo, dataset, Accuracy(72.0, 92.0))
    assert capsys.readouterr().out == ""
    teachers.warn_if_far(zoo, dataset, Accuracy(67.1, 90.0))
    assert "scores 67.10 % on 100 test images; the literature reports 72.34 % for resnet56" in capsys.readouterr().out
    namesake = only(*TINY, "teacher=timm", "teacher.model=resnet50")
    teachers.warn_if_far(namesake, dataset, Accuracy(30.0, 60.0))
    assert capsys.readouterr().out == ""


def test_a_teacher_that_seems_to_guess_is_said_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    config = only(*TINY)
    dataset = open_data(config, CPU)  # ten classes, 100 test images: guessing scores 10 +- 3 %
    teachers.warn_if_far(config, dataset, Accuracy(19.0, 60.0))
    assert "scores 19.00 % on 100 test images, and guessing among 10 classes scores as much" in capsys.readouterr().out
    teachers.warn_if_far(config, dataset, Accuracy(20.0, 60.0))
    assert capsys.readouterr().out == ""
    dataset.num_test = 10_000
    teachers.warn_if_far(config, dataset, Accuracy(11.0, 60.0))
    assert capsys.readouterr().out == ""


def test_guessing_seldom_exceeds_what_it_is_given_credit_for() -> None:
    torch.manual_seed(0)
    hits = torch.distributions.Binomial(1000, torch.tensor(0.01)).sample(torch.Size([5000]))
    exceeding = (hits / 10 > teachers.guessing_at_most(100, 1000)).double().mean()
    assert exceeding < 0.01


@pytest.mark.parametrize(
    ("batch_size", "sentence"),
    [(27, "it would be trained now"), (199, r"teacher\.recipe\.batch_size=199 leaves one of 200 training images")],
)
def test_the_last_batch_is_one_of_all_images_that_the_teacher_learns_from(
    batch_size: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 of them, of which the agent's reward sets 10 aside for the student: that leaves 7 * 27 + 1."""

    def equip(*arguments: Any) -> None:
        raise ConfigError("it would be trained now")

    monkeypatch.setattr(teachers, "equip", equip)
    probe = ["agent.reward=probe", "agent.probe_images=10"]
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        distill(only(*TINY, *probe, "teacher=vgg8", f"teacher.recipe.batch_size={batch_size}"))
