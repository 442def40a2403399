"""Options of the methods that bring more than a distance between features (`conf/method/`)."""

from __future__ import annotations

from dataclasses import dataclass

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.config.option import option


@dataclass
class DiffKDOptions(FeatureOptions):
    """Knowledge diffusion (arXiv 2305.15712)."""

    inference_steps: int = option("steps in which the student's features and logits are denoised", ge=1, le=500)
    autoencoder_width: int = option("channels to which the teacher's map is encoded; 0: no autoencoder", ge=0)
