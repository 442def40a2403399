"""Options of the methods that compare features (`conf/method/`)."""

from __future__ import annotations

from dataclasses import dataclass

from rlkd_run.config.methods import FeatureOptions
from rlkd_run.config.option import option


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
    nce_temperature: float = option("temperature of the contrast; not that of the softmax", gt=0)
    memory_momentum: float = option("share of the old row when a row of the memory is renewed", ge=0, le=1)


@dataclass
class ReviewKDOptions(FeatureOptions):
    """Knowledge review (arXiv 2104.09044)."""

    max_width: int = option("at most this many channels in the fused maps", ge=1)
    warmup_epochs: int = option("the feature loss grows linearly to its full weight at this epoch", ge=1)
