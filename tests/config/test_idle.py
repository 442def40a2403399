"""Options that were typed and play no part are told, and no others are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rlkd_run.config.composition import compose_command
from rlkd_run.config.option import option
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.errors import ConfigError

NOTHING = "nothing here depends on"
SEARCH = ["trials=2", "objective=val_top1", "dataset.val_split=0.1"]


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["temperature=fixed", "agent.t_max=5"], f"{NOTHING} agent.t_max=5"),
        (["temperature=fixed", "agent=official_code"], f"{NOTHING} agent=official_code"),
        (["temperature=fixed,ctkd", "agent=paper,official_code"], f"{NOTHING} agent=paper,official_code"),
        (["teacher.nasty.omega=1"], f"{NOTHING} teacher.nasty.omega=1"),
        (["method=kd", "recipe.tempbalance.high=1.2", "seed=1"], f"{NOTHING} recipe.tempbalance.high=1.2"),
        (["teacher.checkpoint=a.pth", "teacher.seed=1"], f"{NOTHING} teacher.seed=1"),
        (["task=train_teacher", "seed=1"], f"{NOTHING} seed=1; a teacher's own: teacher.seed"),
        (["task=train_teacher", "seed=0,1"], f"{NOTHING} seed=0,1; a teacher's own: teacher.seed"),
        (["task=train_teacher", "recipe.lr=0.1"], f"{NOTHING} recipe.lr=0.1; a teacher's own: teacher.recipe.lr"),
        (["task=train_teacher", "student.lr=0.1"], f"{NOTHING} student.lr=0.1"),
        (["temperature=fixed,ctkd", "agent.hidden=8,16"], f"{NOTHING} agent.hidden=8,16"),
        (["task=train_teacher", "seed=0,1", "teacher.seed=2,3"], f"{NOTHING} seed=0,1; a teacher's own: teacher.seed"),
        (
            [*SEARCH, "temperature=fixed", "temperature.value=interval(1,10)", "agent.hidden=8,16"],
            f"{NOTHING} agent.hidden=8,16",
        ),
    ],
)
def test_what_decides_nothing(overrides: list[str], note: str) -> None:
    assert compose_command(overrides).note == note


@pytest.mark.parametrize(
    "overrides",
    [
        ["agent.t_max=5", "seed=3"],
        ["agent=official_code"],
        ["temperature=fixed", "agent=paper"],  # what it is anyway
        ["pair=vgg13-vgg8", "method=dkd", "recipe=cifar"],
        ["temperature=fixed,rlkd", "agent.t_max=5"],  # in one of two
        ["task=train_teacher", "recipe.epochs=10", "recipe.batch_size=32"],  # the teacher's follow
        ["task=train_teacher", "recipe.momentum=0.5", "teacher.seed=1", "method=dkd"],
        ["student.lr=0.1"],  # recipe.lr follows
        ["temperature=fixed", "student.lr=0.05,0.1"],  # likewise, and the first is what it is anyway
        ["task=train_teacher", "recipe.epochs=240,10"],
        ["task.name=distill", "seed=1"],  # a name chooses a class
        ["temperature.name=rlkd", "seed=1"],
        ["task=train_teacher", "student=timm", "student.model=resnet10t"],  # which had to be said
        ["temperature=fixed", "agent.t_max=10"],  # what it is anyway
        ["runtime.device=cpu", "output_root=elsewhere", "dataset.root=here", "series=a"],  # decide no result anywhere
        [*SEARCH, "temperature=fixed", "temperature.value=2,4"],
        ["experiment=controls", "agent.t_max=5"],
    ],
)
def test_what_plays_a_part(overrides: list[str]) -> None:
    assert compose_command(overrides).note is None


def test_every_policy_with_an_agent_and_none_without() -> None:
    for name, entry in TEMPERATURES.items():
        method = "method=dkd" if name != "lskd_std" else "method=kd"
        note = compose_command([f"temperature={name}", method, "agent.t_max=5"]).note
        assert (note is None) is entry.uses_agent, name


@dataclasses.dataclass
class Span:
    """Options of a third party's method, which have to go together."""

    name: str = option("name")
    low: float = option("least")
    high: float = option("most")

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


def test_options_that_check_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._entries, "span", dataclasses.replace(METHODS["kd"], options=Span))
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "span.yaml").write_text("name: span\nlow: 1.0\nhigh: 2.0\n")

    def composed(*overrides: str) -> str | None:
        return compose_command(["method=span", *overrides], config_dirs=[str(tmp_path)]).note

    assert composed("method.low=1.5") is None
    with pytest.raises(ConfigError) as caught:
        composed("method.low=3")
    assert caught.value.problems == ["method: low is above high"]
