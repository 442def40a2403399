"""Options of the methods that bring more than a distance between features (`conf/method/`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.config.option import option


@dataclass
class DiffKDOptions(FeatureOptions):
    """Knowledge diffusion (arXiv 2305.15712)."""

    inference_steps: int = option("steps in which the student's features and logits are denoised", ge=1, le=500)
    autoencoder_width: int = option("channels to which the teacher's map is encoded; 0: no autoencoder", ge=0)


@dataclass
class InfoFlowOptions(FeatureOptions):
    """Information-flow modelling (arXiv 2005.00727)."""

    critical_weight: float = option("weight of the stages beside the penultimate features, in epoch 1", ge=0)
    decay: float = option("factor on that weight after every decay_epochs", gt=0, le=1)
    decay_epochs: float = option("epochs over which that weight is multiplied by decay", gt=0)
    auxiliary: Optional[str] = option(
        "name of a zoo network that is distilled from the teacher first, on penultimate features only, and then "
        "teaches; null: the teacher itself teaches"
    )


@dataclass
class PESFOptions:
    """A teacher made friendlier by a small adapter (PESF-KD, arXiv 2205.15308)."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    kl_weight: float = option("weight of the divergence from the adapted teacher", ge=0)
    adapter_ce_weight: float = option("weight of the adapted teacher's own cross entropy with the labels", ge=0)
    adapter_lr: float = option("initial learning rate of the adapter; falls as the student's does", gt=0)
    bottleneck: int = option("width of the adapter's bottleneck", ge=1)
    corrected: bool = option("both divergences of the authors' code, from logits whose largest is the true class's")
    standardise: bool = option("the divergence is between z-scored logits (LSKD)")


@dataclass
class AnnealingOptions:
    """Regression on annealed logits, then labels (Annealing-KD, arXiv 2104.07163)."""

    name: str = option("which method: a registered name")
    regression_epochs: int = option("epochs of the first phase, on the teacher's logits; the rest is on labels", ge=1)
    steps: int = option("in so many equal steps the teacher's logits grow to their full size", ge=1)
    start: str = option(
        "weights that the second phase begins with: last, or best on the validation split",
        choices=("last", "best"),
    )
