"""A network between teacher and student: distilled first, then teaching."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from commands import only
from support import TINY, Ended

from rlkd_run.auxiliary import auxiliary_run

COMMAND = [*TINY, "recipe.epochs=1", "method=infoflow", "method.auxiliary=resnet14", "temperature=fixed"]


def result(student: str) -> tuple[Path, dict[str, Any]]:
    (folder,) = Path("outputs/runs").glob(f"digits-resnet14-{student}-infoflow-*")
    return folder, json.loads((folder / "result.json").read_text())


def test_it_is_distilled_first_and_then_teaches(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*COMMAND)
    assert ended.code == 0, ended.err
    auxiliary_folder, first = result("resnet14")
    _, second = result("resnet8")
    assert f"auxiliary resnet14, distilled first\nfolder    {auxiliary_folder}" in ended.out
    own = ("auxiliary", "critical_weight", "decay", "decay_epochs")  # the last two play no part without a weight
    assert [first["config"]["method"][key] for key in own] == [None, 0.0, 1.0, 1.0]
    assert {k: v for k, v in first["config"]["method"].items() if k not in own} == {
        k: v for k, v in second["config"]["method"].items() if k not in own
    }
    assert first["student"]["sha256"] == second["auxiliary"]["sha256"] != second["teacher"]["sha256"]
    assert second["teacher"] == first["teacher"]
    assert second["auxiliary"]["name"] == "resnet14"
    assert second["auxiliary"]["top1"] == first["student"]["top1"]["last"]
    folder, _ = result("resnet8")
    ended = rlkd_run("task=evaluate", f"run={folder}", "runtime.num_threads=1")
    assert f"teacher   resnet14: {second['auxiliary']['top1']:.2f} %" in ended.out
    again = rlkd_run(*COMMAND, "seed=1")  # another seed shares it
    assert again.code == 0, again.err
    assert len(list(Path("outputs/runs").iterdir())) == 3


def test_it_is_looked_for_where_the_run_learnt_from_it(rlkd_run: Callable[..., Ended]) -> None:
    """Precisions are part of what names it, and those of the run count, not those of the command that evaluates."""
    ended = rlkd_run(*COMMAND, "runtime.precision=bf16")
    assert ended.code == 0, ended.err
    folder, _ = result("resnet8")
    ended = rlkd_run("task=evaluate", f"run={folder}", "runtime.num_threads=1")
    assert "not measured" not in ended.out
    assert "teacher   resnet14: " in ended.out


def test_one_that_is_damaged_costs_no_training(rlkd_run: Callable[..., Ended]) -> None:
    assert rlkd_run(*COMMAND).code == 0
    folder, _ = result("resnet14")
    student, _ = result("resnet8")
    record, weights = folder / "result.json", folder / "student.safetensors"
    kept, other = record.read_text(), (student / "student.safetensors").read_bytes()

    def refused() -> str:
        ended = rlkd_run(*COMMAND, "seed=1")
        assert ended.code == 2
        assert "epoch " not in ended.out
        (sentence,) = ended.err.splitlines()
        return sentence

    for text in ("{", kept.replace('"teacher"', '"teachr"')):
        record.write_text(text)
        sentence = refused()
        assert str(record) in sentence
        assert sentence.endswith(f"remove {folder} to run it anew.")
    record.write_text(kept)
    anew = f"remove {folder} to have this auxiliary teacher distilled anew."
    weights.write_bytes(other)
    assert f"{weights} does not hold the weights that were distilled there: put those back, or {anew}" in refused()
    weights.unlink()
    assert f"{weights} does not exist; {anew}" in refused()


def test_students_of_different_auxiliaries_are_not_compared_seed_by_seed(rlkd_run: Callable[..., Ended]) -> None:
    agent = ["agent.warmup_epochs=1", "agent.train_every=1", "agent.rollout_steps=2"]
    ended = rlkd_run(*COMMAND[:-1], *agent, "temperature=fixed,rlkd", "series=both")
    assert ended.code == 0, ended.err
    assert "(the nearest runs differ in the teacher's weights as well)" in ended.out + ended.err


def test_its_learning_rate_is_its_own_unless_the_run_set_one() -> None:
    run = ["method=infoflow", "method.auxiliary=mobilenet_v2", "temperature=fixed", "student=resnet20"]
    for extra, expected in (([], 0.01), (["recipe.lr=0.2"], 0.2)):
        auxiliary = auxiliary_run(only(*run, *extra))
        assert auxiliary is not None
        assert (auxiliary.student.model, auxiliary.recipe.lr) == ("mobilenet_v2", expected)


def test_an_option_of_a_method_of_ones_own_may_have_the_name() -> None:
    @dataclass
    class OwnOptions:
        name: str = "kd"
        auxiliary: float = 0.5

    assert auxiliary_run(replace(only("temperature=fixed"), method=OwnOptions())) is None


def test_only_networks_of_the_zoo_can_be_auxiliary(rlkd_run: Callable[..., Ended]) -> None:
    ended = rlkd_run(*TINY, "method=infoflow", "temperature=fixed", "method.auxiliary=resnet21")
    assert ended.code == 2
    assert "method.auxiliary=resnet21 is not in the zoo; did you mean resnet" in ended.err
    assert not Path("outputs").exists()
