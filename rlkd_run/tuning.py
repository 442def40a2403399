"""Which setting of a sweep is best by its objective, and which to try next. Reads records only.

The objective is the accuracy after the last epoch, not the best of all epochs, which would be a second choice by the
same images, and its mean over the seeds.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlkd_run.config.identity import cell_hash, folder_of, teacher_cell_hash
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.search import Dimension, Search
from rlkd_run.errors import ConfigError
from rlkd_run.flat import flatten
from rlkd_run.record import RESULT, read_json
from rlkd_run.results.settings import settings_of

_WORDS = {
    "val_top1": "images that dataset.val_split holds out of the training set",
    "test_top1": "THE TEST SET (select_on_test=true): its accuracies no longer estimate anything",
}
Runs = Mapping[Path, RunConfig]


@dataclass(frozen=True)
class Ranked:
    """A setting with what its runs came to, in percent, in the order of the runs; `missing` more have no result."""

    settings: tuple[str, ...]
    values: tuple[float, ...]
    missing: int

    @property
    def mean(self) -> float:
        """Mean over the seeds; equal accuracies in another order have the same one."""
        return round(statistics.fmean(self.values), 9)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the seeds, which one does not have."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def objective_of(runs: Iterable[RunConfig]) -> str | None:
    """What the settings of a sweep are compared by.

    Raises:
        ConfigError: by several things.
    """
    found = {run.top.objective for run in runs}
    if len(found) > 1:
        raise ConfigError("A sweep is compared by one objective, not by several.")
    return next(iter(found), None)


def value_of(folder: Path, objective: str) -> float | None:
    """A run's accuracy by the objective, in percent; None as long as it has no result."""
    try:
        result = read_json(folder / RESULT)
    except ConfigError:
        return None
    measured = result["validation"] if objective == "val_top1" else result["student"] or result["teacher"]
    return float(measured["top1"]["last"])


def ranking(runs: Runs, objective: str) -> list[Ranked]:
    """The settings, best first; those of which runs are missing come last, since their mean is of other seeds."""
    cells: dict[str, list[tuple[Path, RunConfig]]] = {}
    for folder, run in runs.items():
        cell = cell_hash(run) if run.task.name == "distill" else teacher_cell_hash(run)
        cells.setdefault(cell, []).append((folder, run))
    names = settings_of([flatten(members[0][1].to_dict()) for members in cells.values()], list(cells))
    ranked = []
    for settings, members in zip(names, cells.values(), strict=True):
        values = [value for folder, _ in members if (value := value_of(folder, objective)) is not None]
        ranked.append(Ranked(settings, tuple(values), len(members) - len(values)))
    return sorted(ranked, key=lambda one: (one.missing, -one.mean if one.values else 0.0))


def ranking_table(ranked: Sequence[Ranked], objective: str) -> str:
    """Write a ranking down, with the sentence that says by what it was made."""
    lines = [f"tuned by {objective} after the last epoch, on {_WORDS[objective]}"]
    complete = [one.mean for one in ranked if not one.missing]
    for one in ranked:
        place = "-" if one.missing else str(1 + sum(mean > one.mean for mean in complete))  # equal means, equal ranks
        mean = f"{one.mean:6.2f}" if one.values else "      "
        spread = "" if one.std is None else f" ± {one.std:.2f}"
        words = f"{mean}{spread}  n={len(one.values)}  {', '.join(one.settings) or 'the only setting'}"
        lines.append(f"  {place:>2}  {words}" + (f"  ({one.missing} missing)" * bool(one.missing)))
    if objective == "val_top1" and any(one.values for one in ranked):
        lines.append("The accuracies in the tables above are of the test set; nothing is chosen by them.")
    if _alike(ranked):
        lines.append("The best two differ by less than the seeds of one of them spread.")
    return "\n".join(lines)


def _alike(ranked: Sequence[Ranked]) -> bool:
    best = [one for one in ranked if not one.missing][:2]
    spreads = [one.std for one in best if one.std is not None]
    return len(best) == 2 and bool(spreads) and best[0].mean - best[1].mean < max(spreads)


def try_settings(search: Search, objective: str, carry_out: Callable[[Runs], None]) -> dict[Path, RunConfig]:
    """Let Optuna's tree-structured Parzen estimator choose setting after setting.

    Its draws depend on the earlier results alone, so that the same command typed again goes through the same settings
    (after a failure that is mended, up to that one): those that are finished cost nothing, and no data base has to be
    kept. A setting that contradicts itself is passed over, which is said.

    Args:
        search: what to choose from, and how often.
        objective: what to maximise.
        carry_out: runs the jobs of one setting, to whatever end.

    Returns:
        All runs by their folders.

    Raises:
        ConfigError: Optuna is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("trials needs Optuna: pip install 'rlkd-run[optuna]'.")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    everything: dict[Path, RunConfig] = {}
    for number in range(search.trials):
        trial = study.ask()
        setting = {key: _suggested(trial, key, dimension) for key, dimension in search.dimensions.items()}
        told = ", ".join(f"{key}={value}" for key, value in setting.items())
        print(f"\ntrial     {number + 1} of {search.trials}: {told}", flush=True)
        try:
            runs = {folder_of(run): run for run in search.settle(setting)}
        except ConfigError as error:
            print(f"passed over: {' '.join(error.problems)}", flush=True)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        carry_out(runs)
        everything |= runs
        values = [value_of(folder, objective) for folder in runs]
        if None in values:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, statistics.fmean(value for value in values if value is not None))
    return everything


def _suggested(trial: Any, key: str, dimension: Dimension) -> Any:
    if dimension.choices:  # by number: Optuna knows no lists
        return dimension.choices[trial.suggest_categorical(key, list(range(len(dimension.choices))))]
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return trial.suggest_int(key, dimension.low, dimension.high, log=dimension.log)
    return float(f"{trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log):.4g}")
