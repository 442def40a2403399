"""Names of methods, temperature policies and data sets: options now, the class only when it is used.

A third party registers its own from a module named by ``--plugin`` or by an entry point of the group
``rlkd_run.plugins``; a yaml never names code to import.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from rlkd_run.config.build import nearest
from rlkd_run.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        name: value of the yaml's key ``name``.
        options: torch-free dataclass of its options.
        target: "module:attribute" of the class, imported by `load`.
        uses_agent: temperature policies only: whether the group `agent` matters to it.
        uses_temperature: methods only: whether a temperature policy matters to it.
        temperature_weights: methods only: options of which one must not be 0, or it does not matter after all.
        source: methods and policies: where it comes from, e.g. an arXiv number; for the documentation.
        equation: methods and policies: what it computes, in a line; for the documentation.
    """

    name: str
    options: type
    target: str
    uses_agent: bool = False
    uses_temperature: bool = True
    temperature_weights: tuple[str, ...] = ("kl_weight",)
    source: str = ""
    equation: str = ""

    def load(self) -> Any:
        """Import the class (and with it torch).

        Raises:
            ConfigError: the target leads nowhere.
        """
        told = f"{self.name} is registered with {self.target}"
        module, colon, attribute = self.target.partition(":")
        if not colon:
            raise ConfigError(f'{told}, which must be "module:Name".')
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):  # something that the module itself needs
                raise
            raise ConfigError(f"{told}, but there is no module named {error.name}.") from error
        if not hasattr(found, attribute):
            raise ConfigError(f"{told}, but {module} has no {attribute}; {nearest(attribute, _public(found))}")
        return getattr(found, attribute)


def _public(module: ModuleType) -> list[str]:
    """What a module defines itself."""
    return [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]


class Registry(Mapping[str, Entry]):
    """The registered names of one group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, options: type, target: str, **facts: Any) -> None:
        """Make `name` usable in a yaml of this group.

        Args:
            name: as in the yaml's key ``name``.
            options: torch-free dataclass of its options.
            target: "module:attribute" of the class.
            facts: further attributes of `Entry`.

        Raises:
            ConfigError: the name is taken by something else.
        """
        entry = Entry(name, options, target, **facts)
        if self._entries.setdefault(name, entry) != entry:
            raise ConfigError(f"{self.group}.name={name} is registered twice: by {self[name].target} and {target}.")

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise ConfigError(f"{self.group}.name={name} is not registered; {nearest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries  # a yaml may hold a list there

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


METHODS = Registry("method")
TEMPERATURES = Registry("temperature")
DATASETS = Registry("dataset")


@functools.cache  # to find them, the metadata of every installed package are read
def _load_entry_points() -> None:
    for point in entry_points(group="rlkd_run.plugins"):
        point.load()


def load_plugins(modules: list[str]) -> None:
    """Import third parties' modules, which register their names.

    Args:
        modules: module names given by ``--plugin``; installed entry points come in by themselves.

    Raises:
        ConfigError: a module cannot be found, or is given by its file.
    """
    _load_entry_points()
    for module in modules:
        path = Path(module)
        if path.suffix == ".py" or len(path.parts) > 1:
            raise ConfigError(
                f"--plugin {module}: it takes the name of a module, not of a file; PYTHONPATH={path.parent} and "
                f"--plugin {path.stem} give it."
            )
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--plugin {module}: no module named {error.name}; is its folder on PYTHONPATH?"
            ) from error
