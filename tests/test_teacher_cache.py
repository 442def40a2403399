"""The teacher's kept answers: the same as the network's, for every way of keeping them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import composed

from rlkd_run import teachers
from rlkd_run.answer_store import AnswerStore
from rlkd_run.data.dataset import Loading
from rlkd_run.data.digits import read_digits
from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.errors import ConfigError
from rlkd_run.experiment import build, open_data
from rlkd_run.protocol import Needs
from rlkd_run.schedule import Schedule
from rlkd_run.seeding import derive_seed
from rlkd_run.teacher_cache import CachedTeacher, LiveTeacher, check_place, teacher_for
from rlkd_run.training import Trainer

CPU = torch.device("cpu")
SMALL = ["dataset=digits", "dataset.train_limit=70", "teacher=resnet14", "student=resnet8", "recipe.epochs=3",
         "recipe.batch_size=16"]  # fmt: skip


OPEN: list[Trainer] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close()


def close() -> None:
    """End the runs of this test, as the end of their processes would."""
    while OPEN:
        OPEN.pop().objective.answers.close()  # type: ignore[attr-defined]


def make(*overrides: str, phase: Callable[[str], None] = lambda words: None) -> Trainer:
    """A new run; the one before has ended."""
    close()
    config = composed(*SMALL, *overrides)
    dataset = open_data(config, CPU)
    objective = build(config, dataset, teachers.build(config, dataset, CPU), CPU)
    loader = dataset.train_batches(config.recipe.batch_size, derive_seed(config.seed, "data"))
    torch.manual_seed(derive_seed(config.seed, "training"))
    objective.answers = teacher_for(config, objective.teacher, loader, dataset, phase)
    OPEN.append(Trainer(objective, loader, Schedule.of(config.recipe), CPU))
    return OPEN[-1]


def nothing() -> None:
    pass


def weights(trainer: Trainer) -> dict[str, Any]:
    return {name: value.clone() for name, value in trainer.objective.model.state_dict().items()}


def apart(left: dict[str, Any], right: dict[str, Any]) -> float:
    return max((value.float() - right[name].float()).abs().max().item() for name, value in left.items())


def trained(*overrides: str, epochs: int = 2) -> Trainer:
    trainer = make(*overrides)
    for _ in range(epochs):
        trainer.run_epoch(nothing)
    return trainer


# Policies, a method with penultimate features, and mixed images in epoch 2.
CASES = {
    "kd": ["temperature=fixed"],
    "dkd ctkd": ["method=dkd", "temperature=ctkd"],
    "srrl": ["method=srrl", "temperature=fixed"],
    "rlkd": ["agent.warmup_epochs=1", "agent.train_every=2", "agent.rollout_steps=2", "agent.exploration.epochs=code"],
}


@pytest.mark.parametrize("mode", ["lazy", "full"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kept_answers_train_as_the_network_does(case: list[str], mode: str) -> None:
    plain = weights(trained(*case))
    kept = trained(*case, f"runtime.teacher_cache={mode}")
    assert isinstance(kept.objective.answers, CachedTeacher)  # type: ignore[attr-defined]
    assert apart(plain, weights(kept)) < 1e-4
    assert apart(plain, weights(trained(*case, "seed=1"))) > 1e-2


def test_rounded_answers_are_the_same_whether_computed_or_found() -> None:
    rounded = ("temperature=fixed", "runtime.teacher_cache=lazy", "runtime.teacher_cache_precision=fp16")
    cold = trained(*rounded)
    close()
    assert apart(weights(cold), weights(trained(*rounded))) < 1e-4
    close()
    exact = weights(trained("temperature=fixed", "runtime.teacher_cache=lazy"))
    assert apart(exact, weights(cold)) > 1e-4, "rounding shows, or this test shows nothing"


def test_the_network_is_asked_once_for_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("temperature=fixed", "runtime.teacher_cache=lazy")
    asked: list[int] = []
    network = trainer.objective.answers.network  # type: ignore[attr-defined]
    forward = network.model.forward
    monkeypatch.setattr(network.model, "forward", lambda images: (asked.append(len(images)), forward(images))[1])
    trainer.run_epoch(nothing)
    assert sum(asked) == 70
    trainer.epoch = 0  # the same crops once more
    trainer.run_epoch(nothing)
    assert sum(asked) == 70
    trainer.run_epoch(nothing)  # pad 1 and no flip: nine views, of which each image has shown one
    assert 70 < sum(asked) < 140


def test_a_full_cache_needs_no_network_and_ends_in_equal_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    full = ["temperature=fixed", "runtime.teacher_cache=full"]
    first = weights(trained(*full))
    second = make(*full)
    monkeypatch.setattr(second.objective.teacher, "model", None)  # type: ignore[attr-defined]
    second.run_epoch(nothing)
    resumed = make(*full)
    resumed.load_state_dict(second.state_dict())
    resumed.run_epoch(nothing)
    assert apart(first, weights(resumed)) == 0


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_rows_on_a_device_are_given_as_the_host_gives_them(precision: str) -> None:
    """A GPU that holds the whole store; here it is the CPU that does."""
    trainer = make("method=srrl", "temperature=fixed", "runtime.teacher_cache=full",
                   f"runtime.teacher_cache_precision={precision}")  # fmt: skip
    answers: Any = trainer.objective.answers  # type: ignore[attr-defined]
    batch = next(iter(trainer.loader.epoch(1)))
    assert not answers.on_device
    expected = answers(batch)
    answers._resident = answers._store.on_device(CPU)
    assert answers.on_device
    found = answers(batch)
    assert found.penultimate is not None
    for one, other in ((found.logits, expected.logits), (found.penultimate, expected.penultimate)):
        assert one.dtype == other.dtype == torch.float32
        assert torch.equal(one, other)


def test_filling_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    full = ["temperature=fixed", "runtime.teacher_cache=full"]
    phases: list[str] = []
    make(*full, phase=phases.append)  # 70 images in nine views, 64 views a step
    percents = [100 * min(done, 630) // 630 for done in range(64, 641, 64)]
    assert phases == [f"asking the teacher {percent} %" for percent in percents]
    assert capsys.readouterr().out.count(" % of the teacher's answers\n") == 10
    make(*full, phase=phases.append)
    assert len(phases) == len(percents)
    assert "answers" not in capsys.readouterr().out


def test_filling_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    make("temperature=fixed", "runtime.teacher_cache=lazy").run_epoch(nothing)
    written: list[int] = []
    write = AnswerStore.write
    monkeypatch.setattr(
        AnswerStore, "write", lambda self, keys, answers: (written.append(len(keys)), write(self, keys, answers))
    )
    make("temperature=fixed", "runtime.teacher_cache=full")
    assert sum(written) > 0
    written.clear()
    make("temperature=fixed", "runtime.teacher_cache=full")
    assert written == []


def test_every_view_is_the_one_of_the_epochs() -> None:
    loader = make("temperature=fixed").loader
    for batch in loader.epoch(3):
        assert batch.views is not None
        assert torch.equal(loader.images_of(batch.views.host), batch.images)
        assert torch.equal(batch.views.host // loader.num_views, batch.index)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method=at"], "method=at reads its maps"),
        (["dataset.train_limit=60"], None),
    ],
)
def test_what_cannot_be_kept_is_said(
    overrides: list[str], words: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make("temperature=fixed", "runtime.teacher_cache=lazy", *overrides)
    assert isinstance(trainer.objective.answers, LiveTeacher) == (words is not None)  # type: ignore[attr-defined]
    assert words is None or words in capsys.readouterr().out


def test_runs_that_differ_in_nothing_of_the_teachers_share_a_folder() -> None:
    for overrides in (["temperature=fixed"], ["method=dkd", "temperature=ctkd", "seed=3"], ["student=resnet14"]):
        make(*overrides, "runtime.teacher_cache=lazy")
    assert len(list(Path("outputs/cache").iterdir())) == 1
    for overrides in (
        ["teacher.seed=1"],
        ["dataset.train_limit=60"],
        ["method=srrl"],
        ["runtime.precision=tf32"],
        ["runtime.teacher_cache_precision=fp16"],
    ):
        make("temperature=fixed", *overrides, "runtime.teacher_cache=lazy")
    assert len(list(Path("outputs/cache").iterdir())) == 6


def protect(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were another user's. Not by its mode: the tests may run as root, whom no mode stops."""
    opened, protected = open, Path(folder).resolve()

    def guarded(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wa+") and Path(path).resolve().is_relative_to(protected):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, mode, *arguments, **options)

    def no_file(dir: Path) -> Any:
        return guarded(dir / "temporary", "w")

    monkeypatch.setattr("builtins.open", guarded)
    monkeypatch.setattr("io.open", guarded)
    monkeypatch.setattr("tempfile.TemporaryFile", no_file)


@pytest.mark.parametrize("mode", ["lazy", "full"])
def test_a_complete_cache_is_read_where_nothing_can_be_written(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights(trained("temperature=fixed", "runtime.teacher_cache=full"))
    protect("outputs/cache", monkeypatch)
    again = ["temperature=fixed", f"runtime.teacher_cache={mode}"]
    check_place(composed(*SMALL, *again), Needs())
    assert apart(first, weights(trained(*again))) == 0


@pytest.mark.parametrize("mode", ["lazy", "full"])
def test_one_that_is_not_complete_is_refused_there(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained("temperature=fixed", "runtime.teacher_cache=lazy")
    protect("outputs/cache", monkeypatch)
    refusal = r"runtime\.cache_root=outputs/cache cannot be written: Permission denied\."
    with pytest.raises(ConfigError, match=refusal):
        make("temperature=fixed", f"runtime.teacher_cache={mode}")
    with pytest.raises(ConfigError, match=refusal):
        check_place(composed(*SMALL, "teacher=resnet20", f"runtime.teacher_cache={mode}"), Needs())


def test_answers_of_other_images_under_the_same_name_are_not_taken() -> None:
    config = composed(*SMALL, "temperature=fixed", "runtime.teacher_cache=full")
    raw = read_digits()
    changed = raw._replace(train_images=raw.train_images.flip(0))

    def asked(images: RawImages) -> tuple[torch.Tensor, torch.Tensor]:
        """What the cache gives for a batch, and the network itself."""
        dataset = ResidentDataset(config.dataset, images, Loading(CPU))  # as a data set of the user's own is opened
        objective = build(config, dataset, teachers.build(config, dataset, CPU), CPU)
        loader = dataset.train_batches(16, 0)
        kept = teacher_for(config, objective.teacher, loader, dataset)
        batch = next(iter(loader.epoch(1)))
        return kept(batch).logits, LiveTeacher(objective.teacher)(batch).logits

    for images in (raw, changed):
        torch.testing.assert_close(*asked(images), rtol=1e-4, atol=1e-4)
    assert len(list(Path(config.runtime.cache_root).iterdir())) == 2
    asked(raw)
    assert len(list(Path(config.runtime.cache_root).iterdir())) == 2
