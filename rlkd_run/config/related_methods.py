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
