"""Options of the networks (`conf/teacher/`, `conf/student/`) and of a teacher's own training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rlkd_run.config.option import option


@dataclass
class StudentOptions:
    """A network by name."""

    source: str = option("zoo: the CIFAR networks of the literature; timm: any model of timm", choices=("zoo", "timm"))
    model: str = option("name of the architecture in its source")
    pretrained: bool = option("timm only: start from the weights that timm publishes for the model")
    lr: float = option(
        "learning rate at which the literature trains this student; with recipe=cifar, recipe.lr follows it", gt=0
    )


@dataclass
class TeacherRecipe:
    """How a missing teacher is trained; schedule and augmentation are those of the run."""

    epochs: int = option("passes over the training set", ge=1)
    batch_size: int = option("images a step", ge=1)
    lr: float = option("initial learning rate", gt=0)
    milestones: list[int] = option("the learning rate drops after these epochs", ge=1)
    lr_policy: str = option("as recipe.lr_policy, for the teacher", choices=("none", "tempbalance"), neutral="none")


@dataclass
class NastyOptions:
    """A teacher that resists distillation: self-undermining (arXiv 2105.07381)."""

    omega: float = option("weight of the divergence from the adversary, which the teacher raises", ge=0)
    temperature: float = option("temperature of that divergence", gt=0)
    max_divergence: Optional[float] = option(
        "an image whose divergence has reached this many nats pushes no further; null: ln C", gt=0
    )
    adversary: Optional[str] = option(
        "file with the weights of a normal teacher; null: find one, or train one first", neutral=None, path=True
    )


@dataclass
class TeacherOptions:
    """The network that is distilled."""

    source: str = option("zoo: the CIFAR networks of the literature; timm: any model of timm", choices=("zoo", "timm"))
    model: str = option("name of the architecture in its source")
    pretrained: bool = option("timm only: its published weights; for other classes, training starts from them")
    checkpoint: Optional[str] = option("file with the weights; null: find a trained teacher, or train one", path=True)
    seed: int = option("seed of the teacher's own training, whatever the run's", ge=0)
    recipe: TeacherRecipe = option("how a missing teacher is trained")
    objective: str = option(
        "what a teacher is trained towards: labels, or nasty (labels, and outputs that harm who imitates them)",
        choices=("labels", "nasty"),
        neutral="labels",
    )
    nasty: Optional[NastyOptions] = option("objective=nasty only", neutral=None)
