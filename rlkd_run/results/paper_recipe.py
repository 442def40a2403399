"""Where a run leaves the recipe under which the literature's numbers were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlkd_run.flat import FlatConfig, shown
from rlkd_run.results.records import DISTILL, Record
from rlkd_run.results.reported import other_teacher

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
        of_teacher: keys of a method that follow the teacher: (method, teacher) -> values, in place of the choice's.
        teacher: the recipe of a teacher that is trained here.
    """

    epochs: int
    optimisation: Values
    everything: Values
    schedule: Values
    agent_schedule: Values
    of_choice: Mapping[tuple[str, str], Values]
    of_teacher: Mapping[tuple[str, str], Values]
    teacher: Values


_ANY_RECIPE: dict[str, tuple[object, ...]] = {
    "runtime.precision": ("fp32",),
    "runtime.teacher_precision": ("fp32",),
    "runtime.teacher_cache_precision": ("fp32",),
    "select_on_test": (False,),
    "recipe.lr_decay": (0.1,),
    "recipe.momentum": (0.9,),
    "recipe.nesterov": (False,),
    "recipe.schedule": ("step",),
    "recipe.lr_policy": ("none",),
    "teacher.objective": ("labels",),
    "dataset.train_limit": (None,),
    "dataset.test_limit": (None,),
    "dataset.val_split": (0,),
    "dataset.flip": (True,),
}
# A teacher is trained in fp32 whatever its students are, and nobody chose it.
_OF_STUDENTS = {key for key in _ANY_RECIPE if key.startswith("runtime.")} | {"recipe.lr_policy", "select_on_test"}
# Students that the frameworks train at 0.01 and RLKD's authors at 0.05: both are the literature's.
_SMALL_LR = {"recipe.lr": (0.01, 0.05)}

# RepDistiller, mdistiller, CTKD and RLKD (arXiv 2407.00115) on CIFAR-100.
_CIFAR100 = PaperRecipe(
    epochs=240,
    optimisation={"recipe.batch_size": (64,), "recipe.lr": (0.05,)},
    everything={**_ANY_RECIPE, "recipe.weight_decay": (5e-4,), "dataset.pad": (4,)},
    schedule={"recipe.milestones": ([150, 180, 210],)},
    agent_schedule={"agent.warmup_epochs": (20,), "agent.train_every": (20,)},
    of_choice={
        ("method.name", "kd"): {"method.ce_weight": (0.1,), "method.kl_weight": (0.9,)},
        # Table 3's weights, which are not mdistiller's (method=dkd_mdistiller).
        ("method.name", "dkd"): {"method.alpha": (1,), "method.beta": (2,)},
        ("temperature.name", "fixed"): {"temperature.value": (4,)},
        ("student.model", "mobilenet_v2"): _SMALL_LR,
        ("student.model", "shufflenet_v1"): _SMALL_LR,
        ("student.model", "shufflenet_v2"): _SMALL_LR,
    },
    of_teacher={("dkd", "resnet32x4"): {"method.beta": (8,)}},
    teacher={
        "teacher.recipe.epochs": (240,),
        "teacher.recipe.batch_size": (64,),
        "teacher.recipe.lr": (0.05,),
        "teacher.recipe.lr_policy": ("none",),
    },
)
# CTKD (arXiv 2211.16231) and RLKD on ImageNet. The temperature is that of both scripts; their teacher is a given one.
_IMAGENET = PaperRecipe(
    epochs=120,
    optimisation={"recipe.batch_size": (256,), "recipe.lr": (0.1,)},
    everything={
        **_ANY_RECIPE,
        "recipe.weight_decay": (1e-4,),
        "dataset.image_size": (224,),
        "dataset.resize": (256,),
        "dataset.min_scale": (0.08,),
    },
    schedule={"recipe.milestones": ([30, 60, 90],)},
    agent_schedule={"agent.warmup_epochs": (20,), "agent.train_every": (20,)},
    of_choice={
        ("temperature.name", "fixed"): {"temperature.value": (4,)},
        ("temperature.name", "rlkd"): {"agent.exploration.epochs": ("none",)},
        **{
            ("method.name", name): {"method.ce_weight": (1,), "method.kl_weight": (1,)}
            for name in ("kd", "pkt", "rkd", "srrl")
        },
        ("method.name", "dkd"): {"method.alpha": (1,), "method.beta": (1,)},
    },
    of_teacher={},
    teacher={
        "teacher.recipe.epochs": (120,),
        "teacher.recipe.batch_size": (256,),
        "teacher.recipe.lr": (0.1,),
        "teacher.recipe.lr_policy": ("none",),
    },
)
_RECIPES = {"cifar100": _CIFAR100, "imagenet": _IMAGENET}


@dataclass(frozen=True)
class Deviation:
    """A key whose value is not the paper's; `paper` is None on a data set for which no paper has a recipe."""

    key: str
    value: str
    paper: str | None


def deviations(record: Record) -> tuple[Deviation, ...]:
    """Say where a run leaves the recipe under which the literature's numbers on its data set were measured.

    Keys that its configuration does not have are not judged; nor is a teacher's recipe where its weights were given.
    On a data set without such numbers there is nothing to leave; only a choice by test accuracy is marked there too.
    That choice is among students: a teacher that was trained on the way was not chosen, whatever its command said.
    """
    config, epochs = record.config, record.epochs
    recipe = _RECIPES.get(record.dataset)
    if recipe is None:
        chosen = record.task == DISTILL and config.get("select_on_test")
        return (Deviation("select_on_test", "true", None),) if chosen else ()
    departures: Mapping[str, Sequence[object]] = {}
    found = [] if epochs == recipe.epochs else [Deviation("recipe.epochs", shown(epochs), shown(recipe.epochs))]
    if record.task == DISTILL:
        expected = {**recipe.everything, **recipe.optimisation}
        choices = {**config, "student.model": record.student}
        for (key, choice), values in recipe.of_choice.items():
            if choices.get(key) == choice:
                expected |= values
        expected |= recipe.of_teacher.get((record.method or "", record.teacher), {})
        if epochs == recipe.epochs:
            expected |= recipe.schedule
            if config.get("temperature.name") == "rlkd":
                expected |= recipe.agent_schedule
        if config.get("runtime.teacher_cache") == "none":
            del expected["runtime.teacher_cache_precision"]
        if config.get("teacher.checkpoint") is not None:
            del expected["teacher.objective"]
        elif not config.get("teacher.pretrained"):
            expected |= recipe.teacher
            if config.get("teacher.recipe.epochs") == recipe.epochs:
                expected |= _of_teachers(recipe.schedule)
        departures = record.departures
        found += _of_another_teacher(record)
    else:  # a teacher has epochs, batch size, learning rate and milestones of its own, and the rest from the run
        expected = {key: values for key, values in recipe.everything.items() if key not in _OF_STUDENTS}
        expected |= {key: values for key, values in recipe.teacher.items() if key != "teacher.recipe.epochs"}
        if epochs == recipe.epochs:
            expected |= _of_teachers(recipe.schedule)
    found += _judged(config, expected)
    found += [
        Deviation(key, shown(here), shown(there))
        for key, (here, there) in departures.items()
        if key not in expected and key != "student.lr"  # which is told as recipe.lr
    ]
    return tuple(found)


def _of_another_teacher(record: Record) -> tuple[Deviation, ...]:
    config, top1 = record.config, record.teacher_top1
    if top1 is None or config.get("teacher.source") != "zoo" or config.get("dataset.test_limit") is not None:
        return ()
    literature = other_teacher(record.teacher, record.dataset, top1)
    if literature is None:
        return ()
    return (Deviation(f"teacher {record.teacher}'s top-1", f"{top1:.2f}", f"{literature.top1:.2f}"),)


def _judged(config: FlatConfig, expected: Values) -> tuple[Deviation, ...]:
    return tuple(
        Deviation(key, shown(config[key]), " or ".join(map(shown, values)))
        for key, values in expected.items()
        if key in config and config[key] not in values
    )


def _of_teachers(values: Values) -> Values:
    return {f"teacher.{key}": value for key, value in values.items()}
