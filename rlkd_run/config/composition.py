"""A command line becomes one checked configuration, or one for each job of a sweep.

Hydra composes; what it would refuse one mistake at a time is gathered here first, so that every problem of a command
is reported at once and nothing has been written.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlkd_run.config.build import Problems, nearest
from rlkd_run.config.registry import load_plugins
from rlkd_run.config.runconfig import GROUPS, RunConfig
from rlkd_run.config.search import Dimension, Search, Setting, listed_values, settled
from rlkd_run.config.validate import contradictions
from rlkd_run.errors import ConfigError

_CHOICE_GROUPS = (*GROUPS, "pair", "experiment")
_NOT_OPTIONS = ("hydra",)
_LAUNCHER_EXTRAS = ("joblib", "submitit", "ray")

Choices = Callable[[str], list[str]]
"""What a group offers, by the group's name."""


def config_folder() -> Path:
    """The yaml files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).resolve().parent.parent / "conf"
    return inside if inside.is_dir() else inside.parent.parent / "conf"


@dataclass(frozen=True)
class Command:
    """A composed command line.

    Attributes:
        runs: one typed, validated configuration a job; a single one unless the command is a sweep. Of a search: the
            corners of what it may choose from.
        is_sweep: whether the command asked for a sweep (which may have one job).
        hydra_overrides: the overrides of Hydra's own keys, e.g. of its launcher.
        launcher: the choice in Hydra's group ``hydra/launcher``; an experiment may make it as well.
        search: set where ``trials`` asks that settings be chosen, not all run.
    """

    runs: list[RunConfig]
    is_sweep: bool
    hydra_overrides: list[str]
    launcher: str
    search: Search | None = None


def compose_command(
    overrides: Sequence[str],
    *,
    config_dirs: Sequence[str] = (),
    plugins: Sequence[str] = (),
    multirun: bool = False,
) -> Command:
    """Compose and check everything that `overrides` ask for.

    Args:
        overrides: as typed, e.g. ``["teacher=resnet56", "seed=0,1,2"]``. A comma list makes a sweep, with or without
            Hydra's ``-m``.
        config_dirs: further folders of yaml files, searched after the package's own.
        plugins: modules to import that register further names.
        multirun: whether ``-m`` was given.

    Raises:
        ConfigError: with every problem found.
    """
    load_plugins(list(plugins))
    register_resolvers()
    problems: list[str] = []
    with _hydra():
        parsed = _parse(overrides, problems)
        search = _search_path(parsed, config_dirs, problems)
        fixed = search + [
            text
            for override in parsed
            if _is_hydra(override) and not _is_search(override)
            for text in _values(override)
        ]
        choices = functools.cache(functools.partial(_choices, search))  # Hydra reads yaml files at every question
        _check_launcher(parsed, choices, problems)
        own = _check_groups([override for override in parsed if not _is_hydra(override)], choices, problems)
        is_sweep = multirun or any(override.is_sweep_override() for override in own)
        runs, launcher = [], "basic"
        searches: list[Search | None] = []
        compose_job = _composer(fixed)
        for variant in _by_experiment(own):  # each experiment may sweep something else
            probe = _compose([*fixed, *(_values(override)[0] for override in variant if _is_group(override, choices))])
            launcher = str(probe.hydra.runtime.choices["hydra/launcher"])
            variant = _check_keys(variant, probe, problems)
            if _sweeps_itself(probe):
                is_sweep, variant = True, _with_preset(probe, variant)
            wanted = _search(compose_job, variant, plugins, problems)
            if wanted is None:
                jobs = itertools.product(*(_values(override) for override in variant))
                runs += [_typed(compose_job(job), plugins, problems) for job in jobs]
            elif not problems:
                runs += [run for setting in wanted.corners() for run in _complained(wanted, setting, problems)]
            searches.append(wanted)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    if len(searches) > 1 and any(searches):
        raise ConfigError("trials searches one experiment at a time.")
    return Command(runs, is_sweep, fixed, launcher, searches[0])


def _search(
    compose_job: Callable[[Sequence[str]], DictConfig],
    overrides: Sequence[Override],
    plugins: Sequence[str],
    problems: list[str],
) -> Search | None:
    """The search that is asked for by ``trials``; None if every setting of the sweep is to be run."""
    swept = [override for override in overrides if override.is_sweep_override() and override.key_or_group != "seed"]
    plain = [text for override in overrides if override not in swept for text in _values(override)[:1]]
    intervals = [override for override in swept if override.is_interval_sweep()]
    asked = any(override.key_or_group == "trials" for override in overrides)
    base = compose_job(plain) if asked or intervals else None
    if base is None or base.trials is None:
        problems.extend(
            f"{override.input_line} has no list of values; trials=N lets Optuna try N of them."
            for override in intervals
        )
        if intervals:
            raise ConfigError(dict.fromkeys(problems))
        return None
    for override in swept:
        if override.key_or_group in _CHOICE_GROUPS:
            problems.append(f"{override.key_or_group} is a group, and trials searches values; search for each choice.")
    if not swept:
        problems.append("trials needs something to search, e.g. temperature.value=interval(1,10).")
    seeds = next((list(listed_values(one)) for one in overrides if one.key_or_group == "seed"), [base.seed])

    def settle(setting: Setting) -> list[RunConfig]:
        found: list[str] = []
        runs = [_typed(composed, plugins, found) for composed in settled(base, setting, seeds)]
        if found:
            raise ConfigError(dict.fromkeys(found))
        return runs

    return Search(base.trials, {override.key_or_group: Dimension.of(override) for override in swept}, settle)


def _complained(search: Search, setting: Setting, problems: list[str]) -> list[RunConfig]:
    try:
        return search.settle(setting)
    except ConfigError as error:
        problems.extend(error.problems)
        return []


def register_resolvers() -> None:
    """Make what yaml files compute with known.

    ``${scaled:n,reference}``: epoch n of a run of `reference` epochs, in proportion.
    ``${choose:word,{a:1,b:2},3}``: what a table holds for a word, or else the last value.
    """

    def scaled(epoch: int, reference: int, key: str = "recipe.epochs", *, _root_: DictConfig) -> int:
        epochs = OmegaConf.select(_root_, key)
        if not isinstance(epochs, int):
            raise ValueError(f"{key} must be a whole number")
        return max(1, int(epoch * epochs / reference + 0.5))

    def choose(word: str, table: Mapping[str, Any], otherwise: Any) -> Any:
        return table.get(word, otherwise)

    OmegaConf.register_new_resolver("scaled", scaled, replace=True)
    OmegaConf.register_new_resolver("choose", choose, replace=True)


@contextmanager
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(config_folder()), job_name="rlkd-run", version_base="1.3"):
        yield


def _parse(overrides: Sequence[str], problems: list[str]) -> list[Override]:
    parser, parsed = OverridesParser.create(), []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            problems.append(f"'{text}' is not an override; write KEY=VALUE or GROUP=CHOICE, e.g. recipe.epochs=10.")
    return parsed


def _is_hydra(override: Override) -> bool:
    return override.key_or_group.split(".")[0].split("/")[0] == "hydra"


def _is_search(override: Override) -> bool:
    return override.key_or_group == "hydra.searchpath"


def _search_path(overrides: Sequence[Override], config_dirs: Sequence[str], problems: list[str]) -> list[str]:
    """The one override that holds the user's own folders of yaml files."""
    paths = []
    for folder in config_dirs:
        if not Path(folder).is_dir():
            problems.append(f"--config-dir {folder} is not a folder.")
            continue
        paths.append(f"file://{Path(folder).resolve()}")
    for override in overrides:
        if _is_search(override):
            value = override.value()
            paths.extend(str(path) for path in (value if isinstance(value, list) else [value]))
    return [f"hydra.searchpath={paths}"] if paths else []


def _choices(search: Sequence[str], group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, config_name="config", overrides=list(search))


def _is_group(override: Override, choices: Choices) -> bool:
    return override.key_or_group in _CHOICE_GROUPS and bool(choices(override.key_or_group))


def _values(override: Override) -> list[str]:
    """Every value of a possibly swept override, each as an override of its own."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _check_launcher(overrides: Sequence[Override], choices: Choices, problems: list[str]) -> None:
    """Complain of a launcher whose plugin is not installed."""
    for override in overrides:
        if override.key_or_group == "hydra/launcher":
            name, valid = str(override.value()), choices("hydra/launcher")
            extra = name.split("_")[0]
            if name in valid:
                continue
            if extra in _LAUNCHER_EXTRAS:
                problems.append(f"hydra/launcher={name} is not installed: pip install 'rlkd-run[{extra}]'.")
            else:
                problems.append(f"hydra/launcher={name} is not a choice; {nearest(name, valid)}")
            raise ConfigError(problems)  # nothing composes with it


def _by_experiment(overrides: Sequence[Override]) -> Iterator[list[Override]]:
    """The overrides once for each experiment that they choose."""
    for number, override in enumerate(overrides):
        if override.key_or_group == "experiment" and override.is_sweep_override():
            parser = OverridesParser.create()
            for text in _values(override):
                yield [*overrides[:number], parser.parse_override(text), *overrides[number + 1 :]]
            return
    yield list(overrides)


def _check_groups(overrides: Sequence[Override], choices: Choices, problems: list[str]) -> list[Override]:
    """Drop, with a complaint, what chooses something that a group does not offer."""
    good = []
    for override in overrides:
        if not _is_group(override, choices):
            good.append(override)
            continue
        group, valid = override.key_or_group, choices(override.key_or_group)
        chosen = [text.split("=", 1)[1] if "=" in text else "null" for text in _values(override)]
        wrong = [choice for choice in chosen if choice not in (*valid, "null")]
        problems.extend(f"{group}={choice} is not a choice; {nearest(choice, valid)}" for choice in wrong)
        if "null" in chosen and group in GROUPS:
            problems.append(f"{group} cannot be left out; {nearest('', valid)}")
            wrong.append("null")
        if not wrong:
            good.append(override)
    return good


def _flat(values: Any, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")


def _check_keys(overrides: Sequence[Override], composed: DictConfig, problems: list[str]) -> list[Override]:
    """Drop, with a complaint, what sets a key that the composed configuration does not have."""
    values = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(values, dict)
    valid = [key for key in _flat(values) if key.split(".")[0] not in _NOT_OPTIONS]
    good = []
    for override in overrides:
        key = override.key_or_group
        if key in (*_CHOICE_GROUPS, *valid) or override.is_add() or override.is_force_add():
            good.append(override)
        else:
            problems.append(f"{key} is not an option; {_nearest_key(key, valid)}")
    return good


def _nearest_key(key: str, valid: Sequence[str]) -> str:
    """Prefer the same last word in another group (``epochs`` -> ``recipe.epochs``), then the nearest spelling."""
    word = key.split(".")[-1]
    same = [candidate for candidate in valid if candidate.split(".")[-1] == word]
    if same:
        return f"did you mean {min(same, key=len)}?"
    group = key.split(".")[0]
    siblings = [candidate for candidate in valid if candidate.startswith(f"{group}.")]
    return nearest(key, siblings or [*valid, *_CHOICE_GROUPS])


def _compose(overrides: Sequence[str]) -> DictConfig:
    try:
        return compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        # A mistake in a yaml file, or in Hydra's own keys: the library's first line says which.
        raise ConfigError(f"The configuration does not compose: {str(error).strip().splitlines()[0]}") from error


def _composer(fixed: Sequence[str]) -> Callable[[Sequence[str]], DictConfig]:
    """As `_compose`; jobs that differ in their seed alone are composed once, since Hydra reads every file again."""
    once = functools.lru_cache(maxsize=1)(_compose)
    parser = OverridesParser.create()

    def compose_job(job: Sequence[str]) -> DictConfig:
        seeds = [text for text in job if text.startswith("seed=")]
        composed = copy.deepcopy(once((*fixed, *(text for text in job if text not in seeds))))
        for text in seeds:
            composed.seed = parser.parse_override(text).value()
        return composed

    return compose_job


def _sweeps_itself(composed: DictConfig) -> bool:
    """Whether a yaml (an experiment) declares itself a sweep."""
    return str(OmegaConf.select(composed, "hydra.mode")).endswith("MULTIRUN")


def _with_preset(composed: DictConfig, overrides: Sequence[Override]) -> list[Override]:
    """The overrides with what an experiment file sweeps (``hydra.sweeper.params``), in the order of the file.

    What the command line decides itself takes the place that the file has for it, so that the rest of the command line
    (the seeds) varies fastest. Both networks together decide the pair.
    """
    params = OmegaConf.to_container(composed.hydra.sweeper).get("params") or {}  # type: ignore[union-attr]
    decided = {override.key_or_group: override for override in overrides}
    if {"teacher", "student"} <= decided.keys():
        params.pop("pair", None)
    parser = OverridesParser.create()
    preset = [decided.get(key) or parser.parse_override(f"{key}={value}") for key, value in params.items()]
    return [*preset, *(override for override in overrides if override.key_or_group not in params)]


def _typed(composed: DictConfig, plugins: Sequence[str], problems: list[str]) -> RunConfig:
    choices = OmegaConf.to_container(composed.hydra.runtime.choices)
    assert isinstance(choices, dict)
    derived: set[str] = set()
    values = {str(key): _resolved(composed, str(key), derived) for key in composed if key not in _NOT_OPTIONS}
    values["choices"] = {group: choice for group, choice in choices.items() if group in _CHOICE_GROUPS and choice}
    values["plugins"] = list(plugins)
    found = Problems()
    config = RunConfig.build(values, found)
    if not found.malformed:
        found.extend(contradictions(config))
    # A complaint about a derived value only repeats the one about the value that it is derived from, if there is one.
    others = [text for text in found if not text.startswith(tuple(f"{key} " for key in derived))]
    problems.extend(others or found)
    return config


def _resolved(composed: DictConfig, key: str, derived: set[str]) -> Any:
    """Plain values of a node, with the keys noted that are interpolations; one that fails comes out as missing."""
    parent, _, name = key.rpartition(".")
    owner = OmegaConf.select(composed, parent) if parent else composed
    if OmegaConf.is_interpolation(owner, name):
        derived.add(key)
    try:
        node = OmegaConf.select(composed, key, default="???")
        if isinstance(node, DictConfig):
            return {str(child): _resolved(composed, f"{key}.{child!s}", derived) for child in node}
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException:
        derived.add(key)
        return "???"
