"""What configurations say: flat keys, and in which keys several differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

FlatConfig = Mapping[str, object]
"""Dotted key -> value; a list is a value."""

# Keys that cannot change a result, or only say where something lies. `dataset.root` can, for a data set that is nothing
# but a folder: it is used where nothing else tells two cells apart.
_WEAK_PREFIXES = ("runtime.", "task.", "hydra.", "choices.")
_STRONG_KEYS = frozenset({"runtime.precision", "runtime.teacher_precision"})
_WEAK_KEYS = frozenset({"output_root", "series", "run", "plugins", "dataset.root", "dataset.download"})

# Keys whose values follow another's unless set. Where they do, naming them beside it says nothing more.
_LEADER_OF = {
    "recipe.milestones": "recipe.epochs",
    "agent.warmup_epochs": "recipe.epochs",
    "agent.train_every": "recipe.epochs",
    "teacher.recipe.epochs": "recipe.epochs",
    "teacher.recipe.batch_size": "recipe.batch_size",
}


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested groups into one level: `{"recipe": {"lr": 0.05}}` -> `{"recipe.lr": 0.05}`."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def shown(value: object) -> str:
    """Write a value as it is typed on the command line: `null`, `true`, `0.1`, `[150,180,210]`, `rlkd`."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def settings_of(configs: Sequence[FlatConfig], cells: Sequence[str]) -> list[tuple[str, ...]]:
    """Tell configurations apart by the keys in which they differ, `key=value` each; the seed never counts.

    Keys that only follow another (the milestones the epochs) stand for nothing of their own and are left out. Where the
    keys that matter do not tell all of them apart (the weights behind the same path were others, say), the
    remaining keys are added, and in the end `cell=` with the hash.

    Args:
        configs: one flat configuration a cell.
        cells: the hash of each.

    Returns:
        For each configuration its settings in the order of the keys, without those keys that it does not have.
    """
    everything = sorted({key for config in configs for key in config} - {"seed"})
    differing = [key for key in everything if len({shown(c[key]) if key in c else None for c in configs}) > 1]
    strong = [key for key in differing if not is_weak(key) and not _follows(key, configs)]
    for keys in (strong, differing):
        told = [tuple(f"{key}={shown(config[key])}" for key in keys if key in config) for config in configs]
        if len(set(told)) == len(configs):
            return told
    told = [tuple(f"{key}={shown(config[key])}" for key in strong if key in config) for config in configs]
    return [(*settings, f"cell={cell}") for settings, cell in zip(told, cells, strict=True)]


def _follows(key: str, configs: Sequence[FlatConfig]) -> bool:
    """Whether the value of `key` is told by that of its leader in every one of `configs`."""
    leader = _LEADER_OF.get(key)
    if leader is None:
        return False
    pairs = {(shown(config.get(leader)), shown(config.get(key))) for config in configs}
    return len(pairs) == len({value for value, _ in pairs})


def is_weak(key: str) -> bool:
    """Whether a key cannot change a result, or only says where something lies."""
    return key in _WEAK_KEYS or (key.startswith(_WEAK_PREFIXES) and key not in _STRONG_KEYS)
