"""What configurations say: flat keys, in which keys several differ, and where one leaves the paper's recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FlatConfig = Mapping[str, object]
"""Dotted key -> value; a list is a value."""

PAPER_EPOCHS = 240

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

# The CIFAR-100 recipe of RepDistiller, mdistiller, CTKD and RLKD (arXiv 2407.00115).
_PAPER: dict[str, tuple[object, ...]] = {
    "recipe.batch_size": (64,),
    "recipe.lr": (0.05,),
    "recipe.lr_decay": (0.1,),
    "recipe.momentum": (0.9,),
    "recipe.nesterov": (False,),
    "recipe.weight_decay": (5e-4,),
    "recipe.schedule": ("step",),
    "recipe.lr_policy": ("none",),
    "teacher.objective": ("labels",),
    "runtime.precision": ("fp32",),
    "runtime.teacher_precision": ("fp32",),
    "dataset.train_limit": (None,),
    "dataset.test_limit": (None,),
    "dataset.val_split": (0,),
    "dataset.pad": (4,),
    "dataset.flip": (True,),
    "select_on_test": (False,),
}
# Students that the frameworks train at 0.01 and RLKD's authors at 0.05: both are the literature's.
_PAPER_LR_OF: dict[str, tuple[object, ...]] = dict.fromkeys(
    ("mobilenet_v2", "shufflenet_v1", "shufflenet_v2"), (0.01, 0.05)
)
# Further keys of one choice: (key that names the choice, the choice) -> values.
_PAPER_OF_CHOICE: dict[tuple[str, str], dict[str, tuple[object, ...]]] = {
    ("method.name", "kd"): {"method.ce_weight": (0.1,), "method.kl_weight": (0.9,)},
    ("temperature.name", "fixed"): {"temperature.value": (4,)},
}
# They follow the number of epochs, so that they say something of their own only at the paper's.
_PAPER_SCHEDULE: dict[str, tuple[object, ...]] = {"recipe.milestones": ([150, 180, 210],)}
_PAPER_AGENT_SCHEDULE: dict[str, tuple[object, ...]] = {"agent.warmup_epochs": (20,), "agent.train_every": (20,)}
_TEACHER_RECIPE: dict[str, tuple[object, ...]] = {
    "teacher.recipe.epochs": (PAPER_EPOCHS,),
    "teacher.recipe.batch_size": (64,),
    "teacher.recipe.lr": (0.05,),
    "teacher.recipe.lr_policy": ("none",),
}


@dataclass(frozen=True)
class Deviation:
    """A key whose value is not the paper's."""

    key: str
    value: str
    paper: str


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


def deviations(config: FlatConfig, *, epochs: int, student: str | None) -> tuple[Deviation, ...]:
    """Say where a CIFAR-100 run leaves the recipe under which the literature's numbers were measured.

    Keys that the configuration does not have are not judged; nor is a teacher's recipe where its weights were given.

    Args:
        config: flat configuration of the run.
        epochs: how many were run.
        student: the student's name; None where a teacher was trained.
    """
    expected = dict(_PAPER)
    if student in _PAPER_LR_OF:
        expected["recipe.lr"] = _PAPER_LR_OF[student]
    if student is None:  # the teacher was trained with its own batch size and learning rate, not with the student's
        del expected["recipe.batch_size"], expected["recipe.lr"]
    else:
        for (key, choice), values in _PAPER_OF_CHOICE.items():
            if config.get(key) == choice:
                expected |= values
    if epochs == PAPER_EPOCHS:
        expected |= _PAPER_SCHEDULE
        if config.get("temperature.name") == "rlkd" and student is not None:
            expected |= _PAPER_AGENT_SCHEDULE
    if config.get("teacher.checkpoint") is None and not config.get("teacher.pretrained"):
        expected |= _TEACHER_RECIPE
    if student is None:
        expected.pop("teacher.recipe.epochs", None)  # said already, as the epochs of the run
    found = [] if epochs == PAPER_EPOCHS else [Deviation("recipe.epochs", shown(epochs), shown(PAPER_EPOCHS))]
    found += [
        Deviation(key, shown(config[key]), " or ".join(map(shown, values)))
        for key, values in expected.items()
        if key in config and config[key] not in values
    ]
    return tuple(found)


def chosen_on_test(config: FlatConfig) -> tuple[Deviation, ...]:
    """Say so, whatever the data set, where a setting was allowed to be chosen by its test accuracy."""
    return (Deviation("select_on_test", "true", "false"),) if config.get("select_on_test") else ()


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
