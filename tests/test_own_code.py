"""Code of one's own that changes between two commands: what was trained with it, and what is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import TINY, Ended, save_untrained_teacher

from rlkd_run.config.composition import compose_command
from rlkd_run.config.registry import METHODS
from rlkd_run.errors import RunError
from rlkd_run.own_code import own_code
from rlkd_run.record import RunFolder

PLUGIN = """
from rlkd_run.config.methods import KDOptions
from rlkd_run.config.registry import METHODS

METHODS.register("edited", KDOptions, "edited_class:Edited")
"""
CLASS = """
from rlkd_run.methods.kd import KD


class Edited(KD):
    pass
"""
RUN = [*TINY, "recipe.epochs=1", "teacher.checkpoint=teacher.safetensors", "temperature=fixed"]
OWN = ["--plugin", "edited", "--config-dir", "mine", "method=edited"]


@pytest.fixture(autouse=True)
def _a_method_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    save_untrained_teacher()
    Path("edited.py").write_text(PLUGIN)
    Path("edited_class.py").write_text(CLASS)
    Path("mine/method").mkdir(parents=True)
    Path("mine/method/edited.yaml").write_text("defaults:\n  - kd\n  - _self_\nname: edited\n")
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    yield
    for module in ("edited", "edited_class"):
        sys.modules.pop(module, None)


def edit() -> None:
    with open("edited_class.py", "a") as file:
        file.write("# edited\n")


def notes(ended: Ended) -> list[str]:
    assert ended.code == 0, ended.err
    return [line for line in ended.out.splitlines() if line.startswith("note ")]


def test_a_finished_run_whose_code_changed_says_so_alone_and_in_a_sweep(rlkd_run: Callable[..., Ended]) -> None:
    for seed in (0, 1):
        assert notes(rlkd_run(*RUN, *OWN, f"seed={seed}")) == []
    again = rlkd_run(*RUN, *OWN)
    assert "finished  before" in again.out
    assert notes(again) == []
    edit()
    (note,) = notes(rlkd_run(*RUN, *OWN))
    assert note.startswith("note      edited_class changed since 1 run finished: ")
    assert "remove the folder or choose another series" in note
    (note,) = notes(rlkd_run(*RUN, *OWN, "seed=0,1"))
    assert note.startswith("note      edited_class changed since 2 runs finished: ")


def test_a_run_that_goes_on_with_other_code_says_so_and_keeps_both(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: RunFolder, name: str, rows: object) -> None:
        raise RunError("metrics.csv could not be written: No space left on device.")

    with monkeypatch.context() as stopped:
        stopped.setattr(RunFolder, "write_csv", full)
        assert rlkd_run(*RUN, *OWN).code == 1
    edit()
    ended = rlkd_run(*RUN, *OWN)
    assert "resumed   after 1 epochs" in ended.out
    (note,) = notes(ended)
    assert note.startswith("note      edited_class changed since this run began")
    (result,) = Path("outputs/runs").glob("*/result.json")
    first, second = json.loads(result.read_text())["own_code"]
    assert first["edited"] == second["edited"]
    assert first["edited_class"] != second["edited_class"]
    (note,) = notes(rlkd_run(*RUN, *OWN))  # what it shows is not all this code's
    assert "changed since 1 run finished" in note


def test_of_a_package_all_its_modules_count_and_of_ours_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_code(compose_command(RUN).runs[0]) == {}
    monkeypatch.setitem(sys.modules, "a_package", None)  # as it is after the test
    del sys.modules["a_package"]
    Path("a_package/inner").mkdir(parents=True)
    Path("a_package/__init__.py").write_text("")
    Path("a_package/inner/part.py").write_text("")
    (run,) = compose_command(RUN, plugins=["a_package"]).runs
    before = own_code(run)
    assert list(before) == ["a_package"]
    Path("a_package/inner/part.py").write_text("# edited\n")
    assert own_code(run) != before
