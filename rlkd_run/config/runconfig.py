"""The configuration of one run, typed and whole: what the rest of the package is given."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.config.agent import AgentOptions
from rlkd_run.config.build import Problems, build, nearest
from rlkd_run.config.methods import InfoFlowOptions
from rlkd_run.config.models import StudentOptions, TeacherOptions
from rlkd_run.config.option import option
from rlkd_run.config.registry import DATASETS, METHODS, TEMPERATURES, Registry
from rlkd_run.config.run import RecipeOptions, RuntimeOptions, TaskOptions
from rlkd_run.errors import ConfigError

REGISTRIES: dict[str, Registry] = {"dataset": DATASETS, "method": METHODS, "temperature": TEMPERATURES}


@dataclass
class TopLevel:
    """Options that belong to no group."""

    seed: int = option("seed of the run", ge=0)
    output_root: str = option("run folders and trained teachers", identity=False, path=True)
    series: str = option("folder below output_root that collects runs which belong together", identity=False)
    run: Optional[str] = option("a run folder, for task=evaluate and task=export", identity=False, path=True)
    objective: Optional[str] = option(
        "what a sweep's settings are compared by, after the last epoch; null: they are not",
        choices=("val_top1", "test_top1"),
        identity=False,
        neutral=None,
    )
    select_on_test: bool = option("allow objective=test_top1; stays in the record and the tables", neutral=False)
    trials: Optional[int] = option(
        "settings that Optuna tries of what is swept; null: all of them", ge=1, identity=False, neutral=None
    )


@dataclass
class RunConfig:
    """One run's options by group.

    Attributes:
        choices: the choice made in each group, e.g. ``{"teacher": "resnet56", "agent": "paper", ...}``.
        plugins: modules of third parties that must be imported before the names mean anything.
    """

    task: TaskOptions
    dataset: Any
    teacher: TeacherOptions
    student: StudentOptions
    method: Any
    temperature: Any
    agent: AgentOptions
    recipe: RecipeOptions
    runtime: RuntimeOptions
    top: TopLevel
    choices: dict[str, str]
    plugins: list[str]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.top.seed

    @property
    def uses_agent(self) -> bool:
        """Whether the temperature policy is one that the group `agent` configures."""
        return TEMPERATURES[self.temperature.name].uses_agent

    @property
    def probe_images(self) -> int:
        """Training images that are set aside for the agent's reward; 0 for most runs."""
        return self.agent.probe_images if self.uses_agent and self.agent.reward == "probe" else 0

    @property
    def uses_temperature(self) -> bool:
        """Whether the method's loss has a temperature: some have none, others lose it with the weights of their KL."""
        return METHODS[self.method.name].uses_temperature and not self.lost_temperature

    @property
    def lost_temperature(self) -> list[str]:
        """The options of the method that are 0, so that nothing of what has a temperature is left; empty otherwise."""
        weights = [name for name in METHODS[self.method.name].temperature_weights if hasattr(self.method, name)]
        return [] if any(getattr(self.method, name) != 0 for name in weights) else weights

    @property
    def auxiliary(self) -> str | None:
        """The network that is distilled first, to teach in the teacher's place; None for most runs."""
        return self.method.auxiliary if isinstance(self.method, InfoFlowOptions) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in the shape of the composed yaml, with `choices` and `plugins` beside the groups."""
        values = dataclasses.asdict(self)
        return {
            **{group: values[group] for group in GROUPS},
            **values["top"],
            "choices": values["choices"],
            "plugins": values["plugins"],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: with every problem of keys, types and bounds.
        """
        problems = Problems()
        config = cls.build(values, problems)
        if problems:
            raise ConfigError(problems)
        return config

    @classmethod
    def build(cls, values: Mapping[str, Any], problems: Problems) -> RunConfig:
        """As `from_dict`, with the complaints noted in `problems` instead of raised."""
        missing = next((module for module in values["plugins"] if module not in sys.modules), "MODULE")
        groups = {group: _build_group(group, values.get(group), problems, missing) for group in GROUPS}
        top = {key: values[key] for key in _TOP_KEYS if key in values}
        for key in values:
            if key not in (*GROUPS, *_TOP_KEYS, "choices", "plugins"):
                problems.add(f"{key} is not an option; {nearest(key, (*_TOP_KEYS, *GROUPS))}")
        return cls(
            **groups,
            top=build(TopLevel, top, "", problems),
            choices=dict(values["choices"]),
            plugins=list(values["plugins"]),
        )


_OPTIONS = {
    "task": TaskOptions,
    "teacher": TeacherOptions,
    "student": StudentOptions,
    "agent": AgentOptions,
    "recipe": RecipeOptions,
    "runtime": RuntimeOptions,
}
GROUPS = ("task", "dataset", "teacher", "student", "method", "temperature", "agent", "recipe", "runtime")
_TOP_KEYS = tuple(field.name for field in dataclasses.fields(TopLevel))


def _build_group(group: str, values: Any, problems: Problems, plugin: str) -> Any:
    """A group's options; `plugin` is the module that may not have been imported, and so not registered its names."""
    options = _OPTIONS.get(group)
    if options is None:
        registry = REGISTRIES[group]
        name = values.get("name") if isinstance(values, Mapping) else None
        if name is None:
            problems.add(f"{group}.name must be set.", malformed=True)
            return None
        if name not in registry:
            problems.add(
                f"{group}.name={name} is not registered (--plugin {plugin} may be missing); "
                f"{nearest(str(name), registry)}",
                malformed=True,
            )
            return None
        options = registry[str(name)].options
    return build(options, values, group, problems)
