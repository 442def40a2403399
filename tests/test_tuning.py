"""Which setting is best, and which one Optuna tries next."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support import TINY, Ended, save_untrained_teacher

from rlkd_run import tuning
from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import folder_of
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.results.cli import main as rlkd_table
from rlkd_run.tuning import Ranked, objective_of, ranking, ranking_table, try_settings

VAL = ["dataset.val_split=0.2", "objective=val_top1", "temperature=fixed"]
Runs = Mapping[Path, RunConfig]


def sweep(*overrides: str) -> Runs:
    return {folder_of(run): run for run in compose_command([*TINY, *VAL, *overrides]).runs}


def finish(folder: Path, val: float, test: float) -> None:
    folder.mkdir(parents=True)
    result = {"validation": {"top1": {"best": 99.0, "last": val}}, "student": {"top1": {"best": 99.0, "last": test}}}
    (folder / "result.json").write_text(json.dumps(result))


def test_the_last_epochs_validation_decides_over_all_seeds() -> None:
    runs = sweep("temperature.value=1,2,3", "seed=0,1")
    values = {
        (1, 0): (50.0, 70.0),
        (1, 1): (52.0, 70.0),
        (2, 0): (53.0, 10.0),
        (2, 1): (53.0, 10.0),
        (3, 0): (90.0, 90.0),
    }
    for folder, run in runs.items():
        key = (run.temperature.value, run.seed)
        if key in values:
            finish(folder, *values[key])
    ranked = ranking(runs, "val_top1")
    assert [one.settings for one in ranked] == [(f"temperature.value={value}",) for value in ("2.0", "1.0", "3.0")]
    assert [(one.mean, one.missing) for one in ranked] == [(53.0, 0), (51.0, 0), (90.0, 1)]
    lines = ranking_table(ranked, "val_top1").splitlines()
    assert lines[0].startswith("tuned by val_top1 after the last epoch, on images that dataset.val_split holds out")
    assert lines[1] == "   1   53.00 ± 0.00  n=2  temperature.value=2.0"
    assert lines[3] == "   -   90.00  n=1  temperature.value=3.0  (1 missing)"
    assert [one.settings[0][-3:] for one in ranking(runs, "test_top1")] == ["1.0", "2.0", "3.0"]
    assert "THE TEST SET" in ranking_table(ranked, "test_top1")


def test_equal_means_have_equal_ranks() -> None:
    equal = [(62.56, 51.92, 68.94), (62.72, 51.76, 68.94)]  # but for the last bit of their sums
    ranked = [Ranked((), values, missing=0) for values in (*equal, (50.0,))]
    places = [line.split()[0] for line in ranking_table(ranked, "test_top1").splitlines()[1:4]]
    assert places == ["1", "1", "3"]


@pytest.mark.parametrize(
    ("second", "alike"), [((49.0, 51.0), False), ((52.0, 53.0), False), ((52.0, 54.0), True), ((53.5,), True)]
)
def test_a_ranking_says_where_its_winner_is_within_the_noise(second: tuple[float, ...], alike: bool) -> None:
    ranked = [Ranked((), (53.5, 54.5), missing=0), Ranked((), second, missing=0)]
    assert ("differ by less than the seeds" in ranking_table(ranked, "val_top1")) is alike
    assert "nothing is chosen by them" in ranking_table(ranked, "val_top1")
    assert "nothing is chosen by them" not in ranking_table(ranked, "test_top1")


def test_one_objective_a_sweep() -> None:
    with pytest.raises(ConfigError, match="one objective"):
        objective_of(compose_command([*TINY, *VAL, "objective=val_top1,null"]).runs)


def test_optuna_finds_the_top_and_goes_the_same_way_twice() -> None:
    pytest.importorskip("optuna", reason="rlkd-run[optuna] is not installed")
    command = compose_command(
        [*TINY, *VAL, "temperature.value=interval(1,9)", "recipe.momentum=0,0.9", "seed=0,1", "trials=16"]
    )
    assert command.search is not None
    assert len(command.runs) == 6  # the corners: both ends of the interval, the other momentum, two seeds each
    ways = []
    for root in ("first", "second"):
        tried = []

        def carry_out(runs: Runs, root: str = root, tried: list[float] = tried) -> None:
            for folder, run in runs.items():
                if not folder.exists():
                    finish(folder, 100 - (run.temperature.value - 6) ** 2 - run.recipe.momentum, 0.0)
            tried.append(run.temperature.value)

        everything = try_settings(command.search, "val_top1", carry_out)
        assert len(everything) == 2 * len(set(tried))
        ways.append(tried)
    assert ways[0] == ways[1]
    best = ranking(everything, "val_top1")[0]
    assert 5 < float(dict(text.split("=") for text in best.settings)["temperature.value"]) < 7


def test_a_setting_that_contradicts_itself_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="rlkd-run[optuna] is not installed")
    overrides = [*TINY, *VAL, "temperature=rlkd", "agent.t_min=1,6", "agent.t_max=8,5", "trials=12"]
    command = compose_command([text for text in overrides if text != "temperature=fixed"])
    assert command.search is not None
    everything = try_settings(
        command.search, "val_top1", lambda runs: [finish(folder, 50.0, 0.0) for folder in runs if not folder.exists()]
    )
    assert {(run.agent.t_min, run.agent.t_max) for run in everything.values()} == {(1, 8), (1, 5), (6, 8)}
    assert "passed over: agent.t_min" in capsys.readouterr().out


def test_trials_may_be_an_experiments(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "search.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      temperature.value: 1,2,3\ntrials: 2\n"
    )
    command = compose_command([*TINY, *VAL, "experiment=search"], config_dirs=[str(tmp_path)])
    assert command.search is not None
    assert command.search.trials == 2


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["temperature.value=interval(1,9)"], "'temperature.value=interval(1,9)' has no list of values; trials=N"),
        (["trials=3"], "trials needs something to search"),
        (["trials=3", "method=kd,dkd"], "method is a group"),
        (["trials=3", "temperature.value=interval(-1,9)"], "temperature.value must be greater than 0, not -1.0."),
        (["trials=3", "recipe.epochs=interval(1,3)"], "recipe.epochs must be a whole number"),
        (["trials=2,3", "temperature.value=2,4"], "trials=2,3 is no sweep"),
        (
            ["trials=3", "temperature.value=interval(9,1)"],
            "temperature.value=interval(9,1): an interval goes from less",
        ),
        (["trials=3", "recipe.lr=tag(log,interval(0,1))"], "recipe.lr=tag(log,interval(0,1)): an interval goes from"),
    ],
)
def test_what_cannot_be_searched(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_command([*TINY, *VAL, *overrides])
    assert any(problem.startswith(sentence.replace("'", "")) for problem in caught.value.problems)


def test_without_optuna_there_is_one_sentence(rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ended = rlkd_run(*TINY, *VAL, "temperature.value=interval(1,9)", "trials=2")
    assert (ended.code, ended.err) == (2, "rlkd-run: trials needs Optuna: pip install 'rlkd-run[optuna]'.\n")
    assert not list(Path().iterdir())
    assert tuning.importlib.util.find_spec("os") is None


def test_a_choice_by_the_test_set_is_refused_or_marked(
    rlkd_run: Callable[..., Ended], rlkd_run_process: Callable[..., Ended], capsys: pytest.CaptureFixture[str]
) -> None:
    save_untrained_teacher()
    job = [*TINY, "teacher.checkpoint=teacher.safetensors", "temperature=fixed", "recipe.epochs=1"]
    refused = rlkd_run(*job, "objective=test_top1", "temperature.value=1,4")
    assert refused.code == 2
    assert "select_on_test=true, which stays in the record" in refused.err
    assert not Path("outputs").exists()
    forced = rlkd_run_process(*job, "objective=test_top1", "select_on_test=true", "-m")
    assert forced.code == 0, forced.err
    assert "tuned by test_top1 after the last epoch, on THE TEST SET" in forced.out
    for path in Path("outputs/runs").glob("*/result.json"):
        assert json.loads(path.read_text())["config"]["select_on_test"] is True
    assert rlkd_table(["outputs"]) == 0
    out = capsys.readouterr().out
    assert out.count("resnet14-resnet8 †") == 1
    assert "† Chosen by test accuracy, which therefore estimates nothing: select_on_test=true." in out
    assert "paper's recipe" not in out
