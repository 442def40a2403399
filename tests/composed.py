"""Configurations for the tests that are not about composing them: the same as Hydra's, in a fifth of its time.

Hydra composes one. In a copy of it, a choice puts the yaml of its group in place and a key gets its value; that the
outcome is Hydra's is tested for every yaml (config/test_composition.py).
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from omegaconf import OmegaConf

from rlkd_run.config.composition import _compose, _hydra, register_resolvers
from rlkd_run.config.runconfig import GROUPS, RunConfig
from rlkd_run.config.shipped import config_folder
from rlkd_run.config.validate import contradictions


@functools.cache
def _whole() -> dict[str, Any]:
    register_resolvers()
    with _hydra():
        values = OmegaConf.to_container(_compose([]))
    assert isinstance(values, dict)
    choices = values.pop("hydra")["runtime"]["choices"]
    return {**values, "choices": {group: choices[group] for group in GROUPS}, "plugins": []}


@functools.cache
def _yaml(group: str, choice: str) -> Any:
    """A group's file, merged with those that it builds upon."""
    content = OmegaConf.load(config_folder() / group / f"{choice}.yaml")
    others = [name for name in content.pop("defaults", []) if name != "_self_"]
    layers = [_yaml("", name[1:].split("@")[0]) if name.startswith("/") else _yaml(group, name) for name in others]
    return OmegaConf.merge(*layers, content)


@functools.cache
def composed(*overrides: str) -> RunConfig:
    """One run; an override chooses in a group or sets a key that exists."""
    whole = copy.deepcopy(_whole())
    for group, choice in (override.split("=", 1) for override in overrides):
        if group in GROUPS:
            whole[group] = OmegaConf.to_container(_yaml(group, choice))
            whole["choices"][group] = choice
    for override in overrides:
        *path, key = override.split("=", 1)[0].split(".")
        if not path and key in GROUPS:
            continue
        owner = functools.reduce(lambda values, step: values[step], path, whole)
        assert key in owner, f"{override} sets nothing"
        value: Any = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
        owner[key] = functools.reduce(lambda values, step: values[step], [*path, key], value)
    resolved: Any = OmegaConf.to_container(OmegaConf.create(whole), resolve=True)
    config = RunConfig.from_dict(resolved)
    assert not contradictions(config)
    return config
