"""Options that were typed and play no part are told, and no others are."""

from __future__ import annotations

import pytest

from rlkd_run.config.composition import compose_command
from rlkd_run.config.registry import TEMPERATURES

NOTHING = "nothing here depends on"


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["temperature=fixed", "agent.t_max=5"], f"{NOTHING} agent.t_max=5"),
        (["teacher.nasty.omega=1"], f"{NOTHING} teacher.nasty.omega=1"),
        (["method=kd", "recipe.tempbalance.high=1.2", "seed=1"], f"{NOTHING} recipe.tempbalance.high=1.2"),
        (["teacher.checkpoint=a.pth", "teacher.seed=1"], f"{NOTHING} teacher.seed=1"),
        (["task=train_teacher", "seed=1"], f"{NOTHING} seed=1; a teacher's own: teacher.seed"),
        (["task=train_teacher", "seed=0,1"], f"{NOTHING} seed=0,1; a teacher's own: teacher.seed"),
        (["task=train_teacher", "recipe.lr=0.1"], f"{NOTHING} recipe.lr=0.1; a teacher's own: teacher.recipe.lr"),
        (["task=train_teacher", "student.lr=0.1"], f"{NOTHING} student.lr=0.1"),
        (["temperature=fixed,ctkd", "agent.hidden=8,16"], f"{NOTHING} agent.hidden=8,16"),
    ],
)
def test_what_decides_nothing(overrides: list[str], note: str) -> None:
    assert compose_command(overrides).note == note


@pytest.mark.parametrize(
    "overrides",
    [
        ["agent.t_max=5", "seed=3"],
        ["temperature=fixed,rlkd", "agent.t_max=5"],  # in one of two
        ["task=train_teacher", "recipe.epochs=10", "recipe.batch_size=32"],  # the teacher's follow
        ["task=train_teacher", "recipe.momentum=0.5", "teacher.seed=1", "method=dkd"],
        ["student.lr=0.1"],  # recipe.lr follows
        ["temperature=fixed", "agent.t_max=10"],  # what it is anyway
        ["runtime.device=cpu", "output_root=elsewhere", "dataset.root=here", "series=a"],  # decide no result anywhere
        ["trials=2", "objective=val_top1", "dataset.val_split=0.1", "temperature=fixed", "temperature.value=2,4"],
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
