"""Options of the methods that work on logits alone (`conf/method/`), beside Hinton's."""

from __future__ import annotations

from dataclasses import dataclass

from rlkd_run.config.option import option


@dataclass
class DKDOptions:
    """Decoupled knowledge distillation (arXiv 2203.08679)."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    alpha: float = option("weight of the divergence between target and non-target (TCKD)", ge=0)
    beta: float = option("weight of the divergence among the non-target classes (NCKD)", ge=0)
    warmup_epochs: int = option("both divergences grow linearly up to this epoch", ge=1)
    standardise: bool = option("the divergences are between z-scored logits (LSKD)")


@dataclass
class DTKDOptions:
    """The whole objective of dynamic temperature distillation (arXiv 2404.12711)."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    alpha: float = option("weight of the divergence at the policy's temperatures", ge=0)
    beta: float = option("weight of the divergence at the constant temperature tau", ge=0)
    tau: float = option("the constant temperature", gt=0)
    warmup_epochs: int = option("both divergences grow linearly up to this epoch", ge=1)
    standardise: bool = option("the divergences are between z-scored logits (LSKD)")


@dataclass
class DISTOptions:
    """Knowledge distillation from a stronger teacher (arXiv 2205.10536)."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    inter_weight: float = option("weight of the correlation over the classes of an instance", ge=0)
    intra_weight: float = option("weight of the correlation over the instances of a class", ge=0)
    standardise: bool = option("the correlations are between softened z-scored logits (LSKD)")


@dataclass
class TTMOptions:
    """Transformed teacher matching, plain and weighted (arXiv 2402.11148)."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)
    kl_weight: float = option("weight of the divergence from the transformed teacher", ge=0)
    gamma: float = option("power to which the teacher's probabilities are raised", gt=0)
    standardise: bool = option("the divergence is between z-scored logits (LSKD)")
