"""Where a run leaves the recipe under which the literature's numbers were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlkd_run.results.settings import FlatConfig, shown

Values = Mapping[str, tuple[object, ...]]
"""Key -> the literature's values, any of them."""


@dataclass(frozen=True)
class PaperRecipe:
    """The recipe of one data set.

    Attributes:
        epochs: how many a student is trained for.
        optimisation: of the student; a teacher that is trained has its own.
        everything: what concerns students and teachers alike.
        schedule: follows the number of epochs, so that it says something of its own only at the literature's.
        agent_schedule: likewise, of RLKD's agent.
        of_choice: further keys of one choice: (key that names the choice, the choice) -> values.
        teacher: the recipe of a teacher that is trained here.
    """

    epochs: int
    optimisation: Values
    everything: Values
    schedule: Values
    agent_schedule: Values
    of_choice: Mapping[tuple[str, str], Values]
    teacher: Values = field(default_factory=dict)


_ANY_DATASET: dict[str, tuple[object, ...]] = {
    "recipe.lr_decay": (0.1,),
    "recipe.momentum": (0.9,),
    "recipe.nesterov": (False,),
    "recipe.schedule": ("step",),
    "recipe.lr_policy": ("none",),
    "teacher.objective": ("labels",),
    "runtime.precision": ("fp32",),
    "runtime.teacher_precision": ("fp32",),
    "dataset.train_limit": (None,),
    "dataset.test_limit": (None,),
    "dataset.val_split": (0,),
    "dataset.flip": (True,),
    "select_on_test": (False,),
}
# Students that the frameworks train at 0.01 and RLKD's authors at 0.05: both are the literature's.
_SMALL_LR = {"recipe.lr": (0.01, 0.05)}

# RepDistiller, mdistiller, CTKD and RLKD (arXiv 2407.00115) on CIFAR-100.
_CIFAR100 = PaperRecipe(
    epochs=240,
    optimisation={"recipe.batch_size": (64,), "recipe.lr": (0.05,)},
    everything={**_ANY_DATASET, "recipe.weight_decay": (5e-4,), "dataset.pad": (4,)},
    schedule={"recipe.milestones": ([150, 180, 210],)},
    agent_schedule={"agent.warmup_epochs": (20,), "agent.train_every": (20,)},
    of_choice={
        ("method.name", "kd"): {"method.ce_weight": (0.1,), "method.kl_weight": (0.9,)},
        ("temperature.name", "fixed"): {"temperature.value": (4,)},
        ("student.model", "mobilenet_v2"): _SMALL_LR,
        ("student.model", "shufflenet_v1"): _SMALL_LR,
        ("student.model", "shufflenet_v2"): _SMALL_LR,
    },
    teacher={
        "teacher.recipe.epochs": (240,),
        "teacher.recipe.batch_size": (64,),
        "teacher.recipe.lr": (0.05,),
        "teacher.recipe.lr_policy": ("none",),
    },
)
# CTKD (arXiv 2211.16231) and RLKD on ImageNet. Neither says at which fixed temperature; their teacher is a given one.
_IMAGENET = PaperRecipe(
    epochs=120,
    optimisation={"recipe.batch_size": (256,), "recipe.lr": (0.1,)},
    everything={
        **_ANY_DATASET,
        "recipe.weight_decay": (1e-4,),
        "dataset.image_size": (224,),
        "dataset.resize": (256,),
        "dataset.min_scale": (0.08,),
    },
    schedule={"recipe.milestones": ([30, 60, 90],)},
    agent_schedule={},
    of_choice={
        ("temperature.name", "rlkd"): {"agent.exploration.epochs": ("none",)},
        **{
            ("method.name", name): {"method.ce_weight": (1,), "method.kl_weight": (1,)}
            for name in ("kd", "pkt", "rkd", "srrl")
        },
        ("method.name", "dkd"): {"method.alpha": (1,), "method.beta": (1,)},
    },
)
_RECIPES = {"cifar100": _CIFAR100, "imagenet": _IMAGENET}


@dataclass(frozen=True)
class Deviation:
    """A key whose value is not the paper's."""

    key: str
    value: str
    paper: str


def deviations(config: FlatConfig, *, dataset: str, epochs: int, student: str | None) -> tuple[Deviation, ...]:
    """Say where a run leaves the recipe under which the literature's numbers on its data set were measured.

    Keys that the configuration does not have are not judged; nor is a teacher's recipe where its weights were given.
    On a data set without such numbers only a choice by test accuracy is one.

    Args:
        config: flat configuration of the run.
        dataset: its name.
        epochs: how many were run.
        student: the student's name; None where a teacher was trained.
    """
    recipe = _RECIPES.get(dataset)
    if recipe is None:
        return (Deviation("select_on_test", "true", "false"),) if config.get("select_on_test") else ()
    expected = dict(recipe.everything)
    if student is not None:  # a teacher is trained with its own batch size and learning rate
        expected |= recipe.optimisation
        choices = {**config, "student.model": student}
        for (key, choice), values in recipe.of_choice.items():
            if choices.get(key) == choice:
                expected |= values
    if epochs == recipe.epochs:
        expected |= recipe.schedule
        if student is not None and config.get("temperature.name") == "rlkd":
            expected |= recipe.agent_schedule
    if config.get("teacher.checkpoint") is None and not config.get("teacher.pretrained"):
        expected |= recipe.teacher
    if student is None:
        expected.pop("teacher.recipe.epochs", None)  # said already, as the epochs of the run
    found = [] if epochs == recipe.epochs else [Deviation("recipe.epochs", shown(epochs), shown(recipe.epochs))]
    found += [
        Deviation(key, shown(config[key]), " or ".join(map(shown, values)))
        for key, values in expected.items()
        if key in config and config[key] not in values
    ]
    return tuple(found)
