"""The overrides of a command line, checked one by one, so that every problem can be reported at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from rlkd_run.config.build import nearest
from rlkd_run.config.quoting import as_text, how_to_type, is_path_with_comma
from rlkd_run.config.registry import Entry
from rlkd_run.config.run import INSPECTIONS
from rlkd_run.config.runconfig import GROUPS, REGISTRIES
from rlkd_run.config.shipped import hidden
from rlkd_run.errors import ConfigError

OPTIONAL_GROUPS = ("pair", "experiment")
CHOICE_GROUPS = (*GROUPS, *OPTIONAL_GROUPS)
NOT_OPTIONS = ("hydra",)
_EXTENSIBLE = (*REGISTRIES, "experiment")  # for which the documentation has people write yaml files of their own
_INSPECTION_READS = ("run", "task", "runtime", "dataset.root")
_LAUNCHER_EXTRAS = ("joblib", "submitit", "ray")

Choices = Callable[[str], list[str]]
"""What a group offers, by the group's name."""


def parse_overrides(overrides: Sequence[str], problems: list[str]) -> list[Override]:
    """What was typed, with a complaint for each word that is no override; one that lacks quotes is read with them."""
    parsed = []
    for text in overrides:
        override = _parsed(text)
        if override is None or is_path_with_comma(override):
            in_quotes = as_text(text)
            override = None if in_quotes is None else _parsed(in_quotes)
            problems.append(
                f"'{text}' is not an override; write KEY=VALUE or GROUP=CHOICE, e.g. recipe.epochs=10."
                if override is None
                else how_to_type(text)
            )
        if override is not None and override.value_type is ValueType.GLOB_CHOICE_SWEEP:
            problems.append(f"{text} asks for all that fit a pattern; name them, with commas between them.")
        elif override is not None and _is_empty(override):
            problems.append(f"{text} has no value: range(START,STOP,STEP) goes from START on and ends before STOP.")
        elif override is not None:
            parsed.append(override)
    return parsed


def _is_empty(override: Override) -> bool:
    """Whether it is a sweep over nothing, such as a range that ends where it starts."""
    if not override.is_sweep_override() or override.is_interval_sweep():
        return False
    try:
        return not any(True for _ in override.sweep_string_iterator())
    except (ValueError, HydraException):  # a step of 0, or of 0.0
        return True


def _parsed(text: str) -> Override | None:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return None
    return override if override.key_or_group else None


def is_hydra(override: Override) -> bool:
    """Whether it sets something of Hydra's own, such as its launcher."""
    return override.key_or_group.split(".")[0].split("/")[0] == "hydra"


def is_searchpath(override: Override) -> bool:
    """Whether it names folders of yaml files."""
    return override.key_or_group == "hydra.searchpath"


def search_path(overrides: Sequence[Override], config_dirs: Sequence[str], problems: list[str]) -> list[str]:
    """The one override that holds the user's own folders of yaml files."""
    paths = []
    for folder in config_dirs:
        if not os.path.isdir(folder):  # `Path.is_dir` would raise where it must not be looked at
            problems.append(f"--config-dir {folder} is not a folder.")
            continue
        paths.append(f"file://{Path(folder).resolve()}")
    for override in overrides:
        if is_searchpath(override):
            value = override.value()
            paths.extend(str(path) for path in (value if isinstance(value, list) else [value]))
    for path in paths:
        problems.extend(
            f"{unread} would not be read, because rlkd-run has a yaml file of that name; give yours another."
            for unread in hidden(Path(path.removeprefix("file://")))
        )
    return [f"hydra.searchpath={paths}"] if paths else []


def choices_of(search: Sequence[str], group: str) -> list[str]:
    """The yaml files of a group; `search` holds the override of the search path, if there is one."""
    loader = GlobalHydra.instance().config_loader()
    if search:
        return loader.get_group_options(group, overrides=list(search))
    # Asked with a search path, Hydra builds everything that it reads from anew, which takes longer than the reading.
    sources = [source for source in loader.get_sources() if source.is_group(group)]
    return sorted({choice for source in sources for choice in source.list(group, ObjectType.CONFIG)})


def is_group(override: Override, choices: Choices) -> bool:
    """Whether it makes a choice in a group, rather than setting a key."""
    return override.key_or_group in CHOICE_GROUPS and bool(choices(override.key_or_group))


def each_value(override: Override) -> list[str]:
    """Every value of a possibly swept override, each as an override of its own."""
    if override.is_sweep_override():
        texts = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    else:
        texts = [override.input_line or ""]
    if override.key_or_group in OPTIONAL_GROUPS:  # where yaml says null for none, Hydra's command line wants ~group
        without = f"~{override.key_or_group}"
        return [without if text.split("=", 1)[-1].strip().lower() == "null" else text for text in texts]
    return texts


def check_launcher(overrides: Sequence[Override], choices: Choices, problems: list[str]) -> None:
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


def by_experiment(overrides: Sequence[Override]) -> Iterator[list[Override]]:
    """The overrides once for each experiment that they choose."""
    for number, override in enumerate(overrides):
        if override.key_or_group == "experiment" and override.is_sweep_override():
            parser = OverridesParser.create()
            for text in each_value(override):
                yield [*overrides[:number], parser.parse_override(text), *overrides[number + 1 :]]
            return
    yield list(overrides)


def check_groups(
    overrides: Sequence[Override], choices: Choices, problems: list[str], *, searched: bool
) -> list[Override]:
    """Drop, with a complaint, what chooses something that a group does not offer.

    Args:
        overrides: what was typed.
        choices: what the groups offer.
        problems: complaints are added here.
        searched: whether folders of the user's own are among what was searched.
    """
    good = []
    for override in overrides:
        if not is_group(override, choices):
            good.append(override)
            continue
        group, valid = override.key_or_group, choices(override.key_or_group)
        chosen = [text.split("=", 1)[1] if "=" in text else "null" for text in each_value(override)]
        wrong = [choice for choice in chosen if choice not in (*valid, "null")]
        for choice in wrong:
            may_be_own = group in _EXTENSIBLE and not searched and choice.lower() not in valid
            own = " (--config-dir FOLDER may be missing)" if may_be_own else ""
            problems.append(f"{group}={choice} is not a choice{own}; {nearest(choice, valid)}")
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


def check_inspection(overrides: Sequence[Override], composed: DictConfig, problems: list[str]) -> None:
    """Complain of what a task on a finished run would not look at, since the run's own record has it."""
    task = OmegaConf.select(composed, "task.name")
    if task not in INSPECTIONS:
        return
    unread = [
        override.input_line or ""
        for override in overrides
        if override.key_or_group not in _INSPECTION_READS
        and not override.key_or_group.startswith(("task.", "runtime."))
    ]
    if unread:
        problems.append(
            f"task={task} reads run, task, runtime and dataset.root, and has all else from the run's record: leave out "
            f"{', '.join(unread)}."
        )


def option_keys(composed: DictConfig) -> list[str]:
    """Every key of a composed configuration, groups included."""
    return list(_flat(OmegaConf.to_container(composed, resolve=False)))


def check_keys(overrides: Sequence[Override], composed: DictConfig, problems: list[str]) -> list[Override]:
    """Drop, with a complaint, what sets a key that the composed configuration does not have."""
    valid = [key for key in option_keys(composed) if key.split(".")[0] not in NOT_OPTIONS]
    good = []
    for override in overrides:
        key = override.key_or_group
        if key in (*CHOICE_GROUPS, *valid) or override.is_add() or override.is_force_add():
            good.append(override)
            continue
        others = _implementations_with(key)
        if others:
            group = key.split(".")[0]
            chosen = composed.hydra.runtime.choices[group]
            problems.append(f"{key} is an option of {group}={', '.join(others)}, not of {group}={chosen}.")
        else:
            problems.append(f"{key} is not an option; {nearest_key(key, [*valid, *CHOICE_GROUPS])}")
    return good


def _implementations_with(key: str) -> list[str]:
    """The registered names of a key's group whose options have it."""
    group, _, name = key.partition(".")
    registry: Mapping[str, Entry] = REGISTRIES.get(group, {})
    return sorted(other for other, entry in registry.items() if name in get_type_hints(entry.options))


def nearest_key(key: str, valid: Sequence[str]) -> str:
    """Prefer the same last word in another group (``epochs`` -> ``recipe.epochs``), then the nearest spelling."""
    word = key.split(".")[-1]
    same = [candidate for candidate in valid if candidate.split(".")[-1] == word]
    if same:
        return f"did you mean {min(same, key=len)}?"
    group = key.split(".")[0]
    siblings = [candidate for candidate in valid if candidate.startswith(f"{group}.")]
    return nearest(key, siblings or valid)
