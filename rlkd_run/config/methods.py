"""Options of the base methods (`conf/method/`)."""

from __future__ import annotations

from dataclasses import dataclass

from rlkd_run.config.option import option


@dataclass
class KDOptions:
    """Hinton's knowledge distillation (arXiv 1503.02531)."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    kl_weight: float = option("weight of the divergence from the teacher", ge=0)
    standardise: bool = option("the divergence is between z-scored logits (LSKD)")


@dataclass
class FeatureOptions:
    """A feature method: cross entropy, divergence from the teacher, and a loss on features."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    kl_weight: float = option("weight of the divergence from the teacher; 0: no such term", ge=0)
    feature_weight: float = option("weight of the loss on features", ge=0)
    standardise: bool = option("the divergence is between z-scored logits (LSKD)", neutral=False)
