"""Code of one's own that a run is made with: what it was, and whether it has changed since. Never imports torch.

It is no part of a run's identity, as a comment that is added changes no result. So its hash is in the record, and a
change is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlkd_run.config.identity import file_hash, run_folder, short_hash
from rlkd_run.config.registry import DATASETS, METHODS, TEMPERATURES
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError
from rlkd_run.record import RESULT, read_json

Version = Mapping[str, str]
"""Hash of the source by module."""


def own_code(config: RunConfig) -> dict[str, str]:
    """The modules of third parties that a run names, with `--plugin` or through what they registered.

    Returns:
        By module the hash of its file; of a package, of all Python files in it.
    """
    chosen = METHODS[config.method.name], TEMPERATURES[config.temperature.name], DATASETS[config.dataset.name]
    modules = [*config.plugins, *(entry.target.partition(":")[0] for entry in chosen)]
    own = sorted({module for module in modules if module.partition(".")[0] != __package__})
    found = {module: _files(module) for module in own}
    return {module: short_hash(list(map(file_hash, files))) for module, files in found.items() if files}


def _files(module: str) -> list[Path]:
    """Where a module's source is; empty where it has none, or is not there, which is complained of elsewhere."""
    with suppress(ImportError, ValueError):
        spec = find_spec(module)
        if spec is not None and spec.submodule_search_locations is not None:
            return sorted(path for place in spec.submodule_search_locations for path in Path(place).rglob("*.py"))
        if spec is not None and spec.has_location:
            return [Path(str(spec.origin))]
    return []


def keep_version(facts: dict[str, Any], now: Version, label: str = "") -> None:
    """Add the code that a run goes on with to the versions that it was trained with, and say so if it has changed.

    Args:
        facts: what the run's checkpoints carry; ``own_code`` are the versions, in their order.
        now: the code.
        label: what the run's lines begin with.
    """
    versions = facts.setdefault("own_code", [])
    if differing := changed(versions, now):
        print(
            f"{label}note      {', '.join(differing)} changed since this run began, which goes on with what is there "
            "now; to train anew, remove its folder",
            flush=True,
        )
    if now and now not in versions:
        versions.append(now)


def changed(versions: Sequence[Version], now: Version) -> list[str]:
    """The modules that any of some earlier versions had otherwise, sorted."""
    return sorted({module for one in versions for module in one.keys() & now.keys() if one[module] != now[module]})


def tell_if_code_changed(finished: Iterable[RunConfig]) -> None:
    """Say so, in a line for all, where finished runs are the result of other code than there is now.

    Args:
        finished: distillations that have their result.
    """
    modules: set[str] = set()
    runs = 0
    for config in finished:
        now = own_code(config)
        differing: list[str] = []
        with suppress(ConfigError):  # a record that cannot be read is told of by the table
            differing = changed(read_json(run_folder(config) / RESULT).get("own_code", []), now) if now else []
        modules.update(differing)
        runs += bool(differing)
    if runs:
        several = "s" if runs > 1 else ""
        print(
            f"note      {', '.join(sorted(modules))} changed since {runs} run{several} finished: what is shown is the "
            f"earlier code's result; to train anew, remove the folder{several} or choose another series",
            flush=True,
        )
