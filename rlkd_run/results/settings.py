"""What configurations say: flat keys, and in which keys several differ."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from rlkd_run.flat import FlatConfig, shown

# Keys that cannot change a result, or only say where something lies. `dataset.root` can, for a data set that is nothing
# but a folder: it is used where nothing else tells two cells apart.
_WEAK_PREFIXES = ("runtime.", "task.", "hydra.", "choices.")
_STRONG_KEYS = frozenset({"runtime.precision", "runtime.teacher_precision", "runtime.teacher_cache_precision"})
_WEAK_KEYS = frozenset(
    {"output_root", "series", "run", "plugins", "dataset.root", "dataset.download", "objective", "trials", "student.lr"}
)  # student.lr is what recipe.lr follows: only that counts

# What a run does whose version did not have the option yet; declared with the options, which this package must do
# without. Groups that have no effect are dropped whole, so that theirs do not appear here.
NEUTRAL: FlatConfig = {
    "agent.calibration.trust": "explained",
    "dataset.decode": "cpu",
    "method.standardise": False,
    "recipe.lr_policy": "none",
    "recipe.schedule": "step",
    "runtime.precision": "fp32",
    "runtime.teacher_cache_precision": "fp32",
    "runtime.teacher_precision": "fp32",
    "select_on_test": False,
    "teacher.nasty.adversary": None,
    "teacher.objective": "labels",
    "teacher.recipe.lr_policy": "none",
}
"""Key -> the value that a missing one stands for, of all keys that can change a result."""

EFFECTIVE_WITH: Mapping[str, tuple[tuple[str, str], ...]] = {
    "recipe.tempbalance": (("recipe.lr_policy", "tempbalance"), ("teacher.recipe.lr_policy", "tempbalance")),
    "runtime.teacher_cache_precision": (("runtime.teacher_cache", "lazy"), ("runtime.teacher_cache", "full")),
    "teacher.nasty": (("teacher.objective", "nasty"),),
}
"""Group or key -> the choices (key, value) of which one must be made, or it has no effect."""

# What decides nothing where a teacher's weights are given: it is no difference to a run whose teacher was trained.
_OF_TRAINED_TEACHER = ("teacher.recipe.", "teacher.seed", "teacher.objective", "teacher.nasty")

# Keys whose values follow another's unless set. Where they do, naming them beside it says nothing more.
_LEADER_OF = {
    "recipe.milestones": "recipe.epochs",
    "method.decay_epochs": "recipe.epochs",
    "method.regression_epochs": "recipe.epochs",
    "method.warmup_epochs": "recipe.epochs",
    "temperature.epochs": "recipe.epochs",
    "temperature.loops": "recipe.epochs",
    "agent.warmup_epochs": "recipe.epochs",
    "agent.train_every": "recipe.epochs",
    "teacher.recipe.epochs": "recipe.epochs",
    "teacher.recipe.batch_size": "recipe.batch_size",
    "teacher.recipe.milestones": "teacher.recipe.epochs",
}

# What names the networks of a run; and the weights that a method chooses by them, unless somebody sets others.
_OF_NETWORKS = frozenset(
    {"teacher.nasty.adversary"}
    | {f"{role}.{key}" for role in ("teacher", "student") for key in ("source", "model", "pretrained", "checkpoint")}
)

_BY_NETWORKS = {"dkd": ("method.beta",), "dtkd": ("method.alpha", "method.beta")}

STUDENTS_RECIPE = frozenset(f"recipe.{key}" for key in ("epochs", "batch_size", "lr", "milestones", "lr_policy"))
"""What a teacher that is trained has in `teacher.recipe` instead; the rest of the recipe is the same for both."""

# What a teacher that is trained has elsewhere, of which the seed is that of its run.
_NOT_OF_TEACHER = STUDENTS_RECIPE | {"teacher.seed", "teacher.checkpoint"}


def value_in(config: FlatConfig, key: str) -> str | None:
    """The value of a key as it is typed, also where a version did not have it yet but others of its group."""
    if key in config:
        return shown(config[key])
    group = key.rpartition(".")[0]
    has_group = not group or any(other.startswith(f"{group}.") for other in config)
    return shown(NEUTRAL[key]) if key in NEUTRAL and has_group else None


def settings_of(configs: Sequence[FlatConfig], cells: Sequence[str], also: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Tell configurations apart by the keys in which they differ, `key=value` each; the seed never counts.

    A key that a configuration lacks has its neutral value there, if it is known; a group without effect does not count.
    Keys that only follow another (the milestones the epochs) stand for nothing of their own and are left out. Where the
    keys that matter do not tell all of them apart (the weights behind the same path were others, say), the
    remaining keys are added, and in the end `cell=` with the hash.

    Args:
        configs: one flat configuration a cell.
        cells: the hash of each.
        also: keys that are named in any case.

    Returns:
        For each configuration its settings in the order of the keys, without those keys that it does not have.
    """
    configs = [_effective(config) for config in configs]
    strong = sorted({*differing([_strong(config) for config in configs]), *also})
    for keys in (strong, sorted({*_unequal(configs), *also})):
        told = [tuple(f"{key}={shown(config[key])}" for key in keys if key in config) for config in configs]
        if len(set(told)) == len(configs):
            return told
    told = [tuple(f"{key}={shown(config[key])}" for key in strong if key in config) for config in configs]
    return [(*settings, f"cell={cell}") for settings, cell in zip(told, cells, strict=True)]


def settled(config: FlatConfig) -> FlatConfig:
    """Everything in a configuration that can change a result but the seed, written alike in all versions."""
    return _strong(_effective(config))


def beyond_networks(config: FlatConfig, departures: Container[str]) -> FlatConfig:
    """`settled` without the networks and what follows them, so that runs of different pairs can be held together.

    Args:
        config: of a run.
        departures: keys whose values are not those that its choices come with: they follow nothing.
    """
    follow = set(_BY_NETWORKS.get(str(config.get("method.name")), ()))
    if config.get("recipe.lr") == config.get("student.lr") and "student.lr" not in departures:
        follow.add("recipe.lr")
    left_out = _OF_NETWORKS | {key for key in follow if key not in departures}
    return {key: value for key, value in settled(config).items() if key not in left_out}


def of_teacher(config: FlatConfig) -> FlatConfig:
    """What concerns the teacher that a run trained: the rest came along with the command, and nobody would see why."""
    return {
        key: value
        for key, value in config.items()
        if key.startswith(("dataset.", "recipe.", "teacher.")) and key not in _NOT_OF_TEACHER
    }


def differing(configs: Sequence[FlatConfig]) -> list[str]:
    """The keys in which configurations differ, in order, without those that only follow another of them."""
    return [key for key in _unequal(configs) if not _follows(key, configs)]


def _effective(config: FlatConfig) -> FlatConfig:
    full = {**NEUTRAL, **config}
    if full.get("teacher.checkpoint") is not None:
        used = ("teacher.seed",) if full.get("method.auxiliary") is not None else ()  # by the auxiliary teacher
        full = {key: value for key, value in full.items() if key in used or not key.startswith(_OF_TRAINED_TEACHER)}
    idle = tuple(
        group
        for group, choices in EFFECTIVE_WITH.items()
        if not any(full.get(key) == choice for key, choice in choices)
    )
    # A group is left out; a key of its own does nothing, which is what its neutral value says.
    full |= {key: NEUTRAL[key] for key in idle if key in NEUTRAL}
    return {
        key: value
        for key, value in full.items()
        if key != "seed"
        and (key not in idle or key in NEUTRAL)
        and not key.startswith(tuple(f"{group}." for group in idle))
    }


def _strong(config: FlatConfig) -> FlatConfig:
    return {key: value for key, value in config.items() if not is_weak(key)}


def _unequal(configs: Sequence[FlatConfig]) -> list[str]:
    def differs(key: str) -> bool:
        having = [config for config in configs if key in config or not key.startswith(_OF_TRAINED_TEACHER)]
        return len({shown(config[key]) if key in config else None for config in having}) > 1

    return [key for key in sorted({key for config in configs for key in config}) if differs(key)]


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
