"""A teacher's answers on disk: no row looks known that is not, whoever is killed, waits or reads beside."""

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

from rlkd_run import answer_store
from rlkd_run.answer_store import AnswerStore, weights_hash
from rlkd_run.errors import RunError
from rlkd_run.models.build import build_model
from rlkd_run.models.normalise import Renormalised

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


def test_weights_that_see_their_images_otherwise_have_another_hash() -> None:
    torch.manual_seed(0)
    model = build_model("zoo", "resnet8", 10)
    plain = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    hashes = {
        weights_hash(Renormalised(model, *plain, (mean,) * 3, (std,) * 3))
        for mean, std in ((0.2, 0.5), (0.9, 0.5), (0.9, 0.1))
    }
    assert len(hashes) == 3
