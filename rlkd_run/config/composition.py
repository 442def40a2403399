"""A command line becomes one checked configuration, or one for each job of a sweep.

Hydra composes; what it would refuse one mistake at a time is gathered here first, so that every problem of a command
is reported at once and nothing has been written.
"""

from __future__ import annotations

import copy
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlkd_run.config.build import Problems
from rlkd_run.config.idle import idle_note
from rlkd_run.config.overrides import (
    CHOICE_GROUPS,
    NOT_OPTIONS,
    Choices,
    by_experiment,
    check_groups,
    check_inspection,
    check_keys,
    check_launcher,
    choices_of,
    each_value,
    is_group,
    is_hydra,
    is_searchpath,
    parse_overrides,
    search_path,
)
from rlkd_run.config.registry import load_plugins
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.search import Dimension, Search, Setting, listed_values, settled
from rlkd_run.config.shipped import config_folder
from rlkd_run.config.validate import contradictions
from rlkd_run.errors import ConfigError, in_a_line


@dataclass(frozen=True)
class Command:
    """A composed command line.

    Attributes:
        runs: one typed, validated configuration a job; a single one unless the command is a sweep. Of a search: the
            corners of what it may choose from.
        first_job: the overrides that compose the first of them, with `hydra_overrides`.
        is_sweep: whether the command asked for a sweep (which may have one job).
        hydra_overrides: the overrides of Hydra's own keys, e.g. of its launcher.
        launcher: the choice in Hydra's group ``hydra/launcher``; an experiment may make it as well.
        launcher_kind: whose launcher that is, whatever the choice is called: basic, joblib, submitit, ray.
        search: set where ``trials`` asks that settings be chosen, not all run.
        images: what ``dataset.root`` was typed as; None: nobody did, and it is what the yaml files say.
        note: which of the typed options play no part; None: all do.
    """

    runs: list[RunConfig]
    first_job: list[str]
    is_sweep: bool
    hydra_overrides: list[str]
    launcher: str
    launcher_kind: str
    search: Search | None = None
    images: str | None = None
    note: str | None = None


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
        parsed = parse_overrides(overrides, problems)
        search = search_path(parsed, config_dirs, problems)
        fixed = search + [
            text
            for override in parsed
            if is_hydra(override) and not is_searchpath(override)
            for text in each_value(override)
        ]
        choices = functools.cache(functools.partial(choices_of, search))  # Hydra reads yaml files at every question
        check_launcher(parsed, choices, problems)
        typed = [override for override in parsed if not is_hydra(override)]
        own = check_groups(typed, choices, problems, searched=bool(search))
        is_sweep = multirun or any(override.is_sweep_override() for override in own)
        runs, launcher, launcher_kind = [], "basic", "basic"
        searches: list[Search | None] = []
        variants: list[list[Override]] = []
        compose_job = _composer(fixed)
        for variant in by_experiment(own):  # each experiment may sweep something else
            probe = _probe(compose_job, variant, choices)
            launcher = str(probe.hydra.runtime.choices["hydra/launcher"])
            launcher_kind = _kind_of(str(probe.hydra.launcher._target_))
            variant = check_keys(variant, probe, problems)
            check_inspection(variant, probe, problems)
            if _sweeps_itself(probe):
                is_sweep, variant = True, _with_preset(probe, variant, problems)
                if not problems:  # what is wrong with one job of a hundred is wrong with most: no need to compose all
                    job = _composed_job(compose_job, _first_values(variant), choices, problems)
                    if job is not None:
                        _typed(job, plugins, problems)
                if problems:
                    raise ConfigError(dict.fromkeys(problems))
            wanted = _search(compose_job, variant, plugins, problems, trials=probe.trials)
            if wanted is None:
                values = itertools.product(*(each_value(override) for override in variant))
                jobs = (_composed_job(compose_job, job, choices, problems) for job in values)
                runs += [_typed(job, plugins, problems) for job in jobs if job is not None]
            elif not problems:
                runs += [run for setting in wanted.corners() for run in _complained(wanted, setting, problems)]
            searches.append(wanted)
            variants.append(variant)
        if problems:
            raise ConfigError(dict.fromkeys(problems))
        if len(searches) > 1 and any(searches):
            raise ConfigError("trials searches one experiment at a time.")

        def alternatives(override: Override) -> list[RunConfig | None]:
            rest = _first_values([other for other in variants[0] if other.key_or_group != override.key_or_group])
            values = [] if override.is_interval_sweep() else each_value(override)
            return [_complete(compose_job(job), plugins) for job in (rest, *([*rest, value] for value in values))]

        note = idle_note(runs, own, alternatives)
    root_is_typed = any(override.key_or_group == "dataset.root" for override in own)
    images = runs[0].dataset.root if root_is_typed else None
    first_job = _first_values(variants[0])
    return Command(runs, first_job, is_sweep, fixed, launcher, launcher_kind, searches[0], images, note)


def compose_first(command: Command) -> DictConfig:
    """The first job of a command as Hydra composes it: with the keys of Hydra's own, and interpolations as written."""
    with _hydra():
        return _compose([*command.hydra_overrides, *command.first_job])


def compose_one(overrides: Sequence[str], plugins: Sequence[str] = ()) -> RunConfig:
    """Compose one run from overrides that nobody typed: a mistake among them is not explained, and nothing is swept.

    Raises:
        ConfigError: they do not compose, or contradict each other.
    """
    load_plugins(list(plugins))
    register_resolvers()
    problems: list[str] = []
    with _hydra():
        run = _typed(_compose(overrides), plugins, problems)
    if problems:
        raise ConfigError(problems)
    return run


def _search(
    compose_job: Callable[[Sequence[str]], DictConfig],
    overrides: Sequence[Override],
    plugins: Sequence[str],
    problems: list[str],
    *,
    trials: object,
) -> Search | None:
    """The search that is asked for by ``trials``; None if every setting of the sweep is to be run."""
    swept = [override for override in overrides if override.is_sweep_override() and override.key_or_group != "seed"]
    plain = [text for override in overrides if override not in swept for text in each_value(override)[:1]]
    intervals = [override for override in swept if override.is_interval_sweep()]
    asked = trials is not None or any(override.key_or_group == "trials" for override in overrides)
    problems.extend(
        f"{override.input_line} is no sweep: a command has one number of trials."
        for override in swept
        if override.key_or_group == "trials"
    )
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
        if override.key_or_group in CHOICE_GROUPS:
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
    try:
        os.getcwd()  # which Hydra asks for
    except FileNotFoundError as error:
        raise ConfigError("The folder that this command was started in has been removed.") from error
    with initialize_config_dir(str(config_folder()), job_name="rlkd-run", version_base="1.3"):
        yield


def _compose(overrides: Sequence[str]) -> DictConfig:
    try:
        return compose("config", overrides=list(overrides), return_hydra_config=True)
    except UnicodeDecodeError as error:  # Hydra does not say of which file
        before = " ".join(error.object[: error.start].decode(errors="replace").split())[-40:]
        raise ConfigError(f"A yaml file is not UTF-8 text, from what comes after {before!r} on.") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # A mistake in a yaml file, or in Hydra's own keys: the library's first line says which.
        raise ConfigError(f"The configuration does not compose: {in_a_line(error)}.") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())  # of a character that no yaml may hold, with its file
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            told = f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
        raise ConfigError(f"The configuration does not compose: {told}") from error


def _composer(fixed: Sequence[str]) -> Callable[[Sequence[str]], DictConfig]:
    """As `_compose`; jobs that differ in their seed alone are composed once, since Hydra reads every file again."""
    once = functools.lru_cache(maxsize=64)(_compose)
    parser = OverridesParser.create()

    def compose_job(job: Sequence[str]) -> DictConfig:
        seeds = [text for text in job if text.startswith("seed=")]
        composed = once((*fixed, *(text for text in job if text not in seeds)))
        if seeds:
            composed = copy.deepcopy(composed)
            composed.seed = parser.parse_override(seeds[-1]).value()
        return composed

    return compose_job


def _first_values(overrides: Sequence[Override]) -> list[str]:
    """The first job of a sweep; what an interval may give is left as the yaml files have it."""
    return [each_value(override)[0] for override in overrides if not override.is_interval_sweep()]


def _probe(
    compose_job: Callable[[Sequence[str]], DictConfig], overrides: Sequence[Override], choices: Choices
) -> DictConfig:
    """The first job of a sweep, as far as the command line tells, or the only one.

    If it does not compose, the choices of groups alone: a key that does not exist, most likely, which these can tell.
    """
    listed = [override for override in overrides if not override.is_delete()]
    try:
        return compose_job(_first_values(listed))
    except ConfigError:
        return compose_job(_first_values([override for override in listed if is_group(override, choices)]))


def _composed_job(
    compose_job: Callable[[Sequence[str]], DictConfig], job: Sequence[str], choices: Choices, problems: list[str]
) -> DictConfig | None:
    """One job of a sweep; None, with a complaint, if it sets a key that its choices, unlike the first job's, lack."""
    try:
        return compose_job(job)
    except ConfigError:
        overrides = parse_overrides(job, problems)
        if len(check_keys(overrides, _probe(compose_job, overrides, choices), problems)) == len(overrides):
            raise
        return None


def _kind_of(target: str) -> str:
    """The launcher's kind from its class: ``hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher``."""
    return next((kind for kind in ("joblib", "submitit", "ray") if f".hydra_{kind}_launcher." in target), "basic")


def _sweeps_itself(composed: DictConfig) -> bool:
    """Whether a yaml (an experiment) declares itself a sweep."""
    return str(OmegaConf.select(composed, "hydra.mode")).endswith("MULTIRUN")


def _with_preset(composed: DictConfig, overrides: Sequence[Override], problems: list[str]) -> list[Override]:
    """The overrides with what an experiment file sweeps (``hydra.sweeper.params``), in the order of the file.

    What the command line decides itself takes the place that the file has for it, so that the rest of the command line
    (the seeds) varies fastest. Both networks together decide the pair.
    """
    params = OmegaConf.to_container(composed.hydra.sweeper).get("params") or {}  # type: ignore[union-attr]
    decided = {override.key_or_group: override for override in overrides}
    if {"teacher", "student"} <= decided.keys():
        params.pop("pair", None)
    preset = [
        override
        for key, value in params.items()
        for override in ([decided[key]] if key in decided else parse_overrides([f"{key}={value}"], problems))
    ]
    return [*preset, *(override for override in overrides if override.key_or_group not in params)]


def _typed(composed: DictConfig, plugins: Sequence[str], problems: list[str]) -> RunConfig:
    choices = OmegaConf.to_container(composed.hydra.runtime.choices)
    assert isinstance(choices, dict)
    derived: set[str] = set()
    values = {str(key): _resolved(composed, str(key), "", derived) for key in composed if key not in NOT_OPTIONS}
    values["choices"] = {group: choice for group, choice in choices.items() if group in CHOICE_GROUPS and choice}
    values["plugins"] = list(plugins)
    found = Problems()
    config = RunConfig.build(values, found)
    if not found.malformed:
        found.extend(contradictions(config))
    # A complaint about a derived value only repeats the one about the value that it is derived from, if there is one.
    others = [text for text in found if not text.startswith(tuple(f"{key} " for key in derived))]
    problems.extend(others or found)
    return config


def _complete(composed: DictConfig, plugins: Sequence[str]) -> RunConfig | None:
    """As `_typed`; None where there would be a complaint."""
    problems: list[str] = []
    run = _typed(composed, plugins, problems)
    return None if problems else run


def _resolved(owner: DictConfig, name: str, prefix: str, derived: set[str]) -> Any:
    """Plain values of a node, with the keys noted that are interpolations; one that fails comes out as missing."""
    key = f"{prefix}{name}"
    if OmegaConf.is_interpolation(owner, name):
        derived.add(key)
    try:
        if OmegaConf.is_missing(owner, name):
            return "???"
        node = owner[name]
        if isinstance(node, DictConfig):
            return {str(child): _resolved(node, str(child), f"{key}.", derived) for child in node}
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException:
        derived.add(key)
        return "???"
