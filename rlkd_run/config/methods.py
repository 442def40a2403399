"""Options of the base methods (`conf/method/`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rlkd_run.config.option import option


@dataclass
class MethodOptions:
    """What every method on logits has."""

    name: str = option("which method: a registered name")
    ce_weight: float = option("weight of the cross entropy with the labels", ge=0)


@dataclass
class KDOptions(MethodOptions):
    """Hinton's knowledge distillation (arXiv 1503.02531)."""

    kl_weight: float = option("weight of the divergence from the teacher", ge=0)
    standardise: bool = option("the divergence is between z-scored logits (LSKD)")


@dataclass
class DKDOptions(MethodOptions):
    """Decoupled knowledge distillation (arXiv 2203.08679)."""

    alpha: float = option("weight of the divergence between target and non-target (TCKD)", ge=0)
    beta: float = option("weight of the divergence among the non-target classes (NCKD)", ge=0)
    warmup_epochs: int = option("both divergences grow linearly up to this epoch", ge=1)
    standardise: bool = option("the divergences are between z-scored logits (LSKD)")


@dataclass
class DTKDOptions(MethodOptions):
    """The whole objective of dynamic temperature distillation (arXiv 2404.12711)."""

    alpha: float = option("weight of the divergence at the policy's temperatures", ge=0)
    beta: float = option("weight of the divergence at the constant temperature tau", ge=0)
    tau: float = option("the constant temperature", gt=0)
    warmup_epochs: int = option("both divergences grow linearly up to this epoch", ge=1)
    standardise: bool = option("the divergences are between z-scored logits (LSKD)")


@dataclass
class DISTOptions(MethodOptions):
    """Knowledge distillation from a stronger teacher (arXiv 2205.10536)."""

    inter_weight: float = option("weight of the correlation over the classes of an instance", ge=0)
    intra_weight: float = option("weight of the correlation over the instances of a class", ge=0)
    standardise: bool = option("the correlations are between softened z-scored logits (LSKD)")


@dataclass
class TTMOptions(MethodOptions):
    """Transformed teacher matching, plain and weighted (arXiv 2402.11148)."""

    kl_weight: float = option("weight of the divergence from the transformed teacher", ge=0)
    gamma: float = option("power to which the teacher's probabilities are raised", gt=0)
    standardise: bool = option("the divergence is between z-scored logits (LSKD)")


@dataclass
class FeatureOptions(MethodOptions):
    """A feature method: cross entropy, divergence from the teacher, and a loss on features."""

    kl_weight: float = option("weight of the divergence from the teacher; 0: no such term", ge=0)
    feature_weight: float = option("weight of the loss on features", ge=0)
    standardise: bool = option("the divergence is between z-scored logits (LSKD)", neutral=False)


@dataclass
class FitNetOptions(FeatureOptions):
    """FitNets (arXiv 1412.6550)."""

    hint_layer: int = option("which map is compared: 0 the stem's, 1 the first stage's, ...", ge=0)


@dataclass
class CCOptions(FeatureOptions):
    """Correlation congruence (arXiv 1904.01802)."""

    embedding: int = option("width of the embedding of both networks' features", ge=1)


@dataclass
class VIDOptions(FeatureOptions):
    """Variational information distillation (arXiv 1904.05835)."""

    initial_variance: float = option("variance of every teacher channel at the start", gt=1e-5)


@dataclass
class RKDOptions(FeatureOptions):
    """Relational knowledge distillation (arXiv 1904.05068)."""

    distance_weight: float = option("weight of the distances of pairs", ge=0)
    angle_weight: float = option("weight of the angles of triples", ge=0)


@dataclass
class CRDOptions(FeatureOptions):
    """Contrastive representation distillation (arXiv 1910.10699)."""

    embedding: int = option("width of the embedding and of the memory", ge=1)
    negatives: int = option("K: images of other classes that each image is told from", ge=1)
    nce_temperature: float = option("temperature of the contrast; not that of the softmax", ge=0.015)
    memory_momentum: float = option("share of the old row when a row of the memory is renewed", ge=0, le=1)


@dataclass
class ReviewKDOptions(FeatureOptions):
    """Knowledge review (arXiv 2104.09044)."""

    max_width: int = option("at most this many channels in the fused maps", ge=1)
    warmup_epochs: int = option("the feature loss grows linearly to its full weight at this epoch", ge=1)


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
        "name of a zoo network that is distilled from the teacher first, on penultimate features only, at the run's "
        "temperatures and with the teacher's seed, and then teaches; null: the teacher itself teaches"
    )


@dataclass
class PESFOptions(MethodOptions):
    """A teacher made friendlier by a small adapter (PESF-KD, arXiv 2205.15308)."""

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
