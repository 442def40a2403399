"""The teacher's kept answers: the same as the network's, for every way of keeping them, and safe between processes."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import composed

from rlkd_run import answer_store, teachers
from rlkd_run.answer_store import AnswerStore, weights_hash
from rlkd_run.errors import ConfigError, RunError
from rlkd_run.experiment import build, open_data
from rlkd_run.models.build import build_model
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


def test_filling_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    full = ["temperature=fixed", "runtime.teacher_cache=full"]
    phases: list[str] = []
    make(*full, phase=phases.append)  # 70 images in nine views, 512 views a step
    assert phases == ["asking the teacher 50 %", "asking the teacher 100 %"]
    assert capsys.readouterr().out.count(" % of the teacher's answers\n") == 2
    make(*full, phase=phases.append)
    assert len(phases) == 2
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


# --- the store --------------------------------------------------------------------------------------------------------


STORES: list[AnswerStore] = []
LOGITS = {"logits": 3}


@pytest.fixture(autouse=True)
def _unlocked() -> Iterator[None]:
    yield
    while STORES:
        STORES.pop().unlock()


def store(folder: str = "store", precision: str = "fp32", widths: Mapping[str, int] = LOGITS) -> AnswerStore:
    STORES.append(AnswerStore(Path(folder), 10, widths, precision, {"teacher": "x"}))
    return STORES[-1]


def test_half_precision_keeps_its_bound() -> None:
    one = store(precision="fp16")
    assert one.lock(wait=False)
    values = torch.randn(10, 3) * 20
    one.write(torch.arange(10), {"logits": values})
    assert ((one.read(torch.arange(10))["logits"] - values).abs() <= values.abs() * 2**-11 + 2**-25).all()


def test_what_precision_cannot_hold_stays_unknown() -> None:
    one = store(precision="fp16")
    one.lock(wait=False)
    one.write(torch.tensor([1, 2, 3]), {"logits": torch.tensor([[1.0, 2, 3], [1e6, 0, 0], [float("nan"), 0, 0]])})
    assert one.known(torch.arange(10)).tolist() == [False, True, *[False] * 8]
    assert not one.complete()


def test_rows_are_known_on_disk_after_a_flush_only() -> None:
    one = store()
    one.lock(wait=False)
    one.write(torch.tensor([4]), {"logits": torch.ones(1, 3)})
    assert not store().known(torch.tensor([4])).any()
    one.flush()
    other = store()
    assert other.known(torch.tensor([4])).all()
    assert other.read(torch.tensor([4]))["logits"].tolist() == [[1, 1, 1]]


def filled(widths: Mapping[str, int]) -> AnswerStore:
    one = store(widths=widths)
    one.lock(wait=False)
    one.write(torch.arange(10), {name: torch.ones(10, width) for name, width in widths.items()})
    one.flush()
    one.unlock()
    return one


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    short = path.read_bytes()[:-1]
    path.unlink()  # not in place: a process that has mapped it would end
    path.write_bytes(short)


@pytest.mark.parametrize("lose", [remove, cut])
@pytest.mark.parametrize("name", ["logits", "penultimate"])
def test_values_that_were_lost_are_asked_for_again(name: str, lose: Callable[[Path], None]) -> None:
    widths = {"logits": 3, "penultimate": 2}
    reader = filled(widths)
    lose(Path("store") / f"{name}.bin")
    again = store(widths=widths)
    assert not again.known(torch.arange(10)).any()
    reader.refresh()
    assert reader.complete()
    assert all((values == 1).all() for values in reader.read(torch.arange(10)).values())
    filled(widths)
    assert store(widths=widths).complete()


def test_no_row_looks_known_when_bringing_lost_values_back_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    filled(LOGITS)
    remove(Path("store/logits.bin"))
    reserve = answer_store._reserve

    def ends_after(path: Path, size: int) -> None:
        reserve(path, size)
        if path.name == "logits.bin":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(answer_store, "_reserve", ends_after)
        with pytest.raises(KeyboardInterrupt):
            store()
    assert not store().known(torch.arange(10)).any()


def _hold(folder: str, held: Any, leave: Any) -> None:
    one = store(folder)
    one.lock(wait=True)
    one.write(torch.tensor([7]), {"logits": torch.full((1, 3), 7.0)})
    one.flush()
    held.set()
    leave.wait(60)
    one.unlock()


def test_one_process_writes_and_others_read() -> None:
    context = multiprocessing.get_context("fork")
    held, leave = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(Path("store").resolve()), held, leave))
    reader = store()
    process.start()
    assert held.wait(60)
    assert not reader.lock(wait=False)
    with pytest.raises(AssertionError, match="holds the lock"):
        reader.write(torch.tensor([0]), {"logits": torch.zeros(1, 3)})
    assert not reader.known(torch.tensor([7])).any()
    reader.refresh()
    assert reader.read(torch.tensor([7]))["logits"].tolist() == [[7, 7, 7]]
    leave.set()
    assert reader.lock(wait=True)
    process.join(60)


def test_no_room_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answer_store.os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"need 0\.0 GB in .*No space left on device\. runtime\.teacher_cache=none"):
        store("elsewhere")


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, RunError), (errno.EDQUOT, RunError), (errno.EIO, OSError)]
)
def test_room_is_spoken_of_only_where_there_is_none(
    number: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(answer_store.os, "posix_fallocate", fails)
    with pytest.raises(error):
        store("elsewhere")


def test_a_file_system_without_fallocate_serves_and_no_row_is_lost_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the C library writes zeros: not into a file that is appended to, and never while another process writes."""
    began, go_on = threading.Event(), threading.Event()
    sizes: list[int] = []

    def zeros(number: int, offset: int, length: int) -> None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        began.set()
        assert go_on.wait(60)
        os.pwrite(number, bytes(length), offset)
        sizes.append(length)

    monkeypatch.setattr(answer_store.os, "posix_fallocate", zeros)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store)
        assert began.wait(60)
        second = pool.submit(store)
        time.sleep(0.3)  # by now the second would be at it as well
        go_on.set()
        one, other = first.result(), second.result()
    assert sizes == [10, 10 * 3 * 4]
    one.lock(wait=False)
    one.write(torch.tensor([4]), {"logits": torch.ones(1, 3)})
    one.flush()
    other.refresh()
    assert store().read(torch.tensor([4]))["logits"].tolist() == [[1, 1, 1]]
    assert other.read(torch.tensor([4]))["logits"].tolist() == [[1, 1, 1]]
    assert len(sizes) == 2


def test_weights_have_a_hash() -> None:
    torch.manual_seed(0)
    model = build_model("zoo", "resnet8", 10)
    before = weights_hash(model)
    assert before == weights_hash(model)
    with torch.no_grad():
        next(model.parameters())[0] += 1
    assert weights_hash(model) != before
