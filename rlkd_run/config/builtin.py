"""What this package registers itself: the built-in methods, temperature policies and data sets."""

from __future__ import annotations

from rlkd_run.config.datasets import DatasetOptions, FolderOptions, ImageNetOptions
from rlkd_run.config.methods import (
    AnnealingOptions,
    CCOptions,
    CRDOptions,
    DiffKDOptions,
    DISTOptions,
    DKDOptions,
    DTKDOptions,
    FeatureOptions,
    FitNetOptions,
    InfoFlowOptions,
    KDOptions,
    PESFOptions,
    ReviewKDOptions,
    RKDOptions,
    TTMOptions,
    VIDOptions,
)
from rlkd_run.config.registry import DATASETS, METHODS, TEMPERATURES
from rlkd_run.config.temperatures import (
    CTKDInstanceOptions,
    CTKDOptions,
    DTKDPolicyOptions,
    FixedOptions,
    RandomOptions,
    RLKDOptions,
    ScheduleOptions,
    StdOptions,
)

METHODS.register("kd", KDOptions, "rlkd_run.methods.kd:KD", source="arXiv 1503.02531", equation="CE + KL_T(v, u)")
METHODS.register(
    "lskd",
    KDOptions,
    "rlkd_run.methods.kd:KD",
    source="arXiv 2403.01732",
    equation="CE + KL_T(z(v), z(u)), z the z-score of an instance's logits",
)
METHODS.register(
    "dkd",
    DKDOptions,
    "rlkd_run.methods.dkd:DKD",
    temperature_weights=("alpha", "beta"),
    source="arXiv 2203.08679",
    equation="CE + min(e/W, 1) · T² (α TCKD + β NCKD)",
)
METHODS.register(
    "dtkd",
    DTKDOptions,
    "rlkd_run.methods.dtkd:DTKD",
    temperature_weights=("alpha",),
    source="arXiv 2404.12711",
    equation="CE + min(e/W, 1) · (α KL at the policy's T + β KL at τ)",
)
METHODS.register(
    "dist",
    DISTOptions,
    "rlkd_run.methods.dist:DIST",
    temperature_weights=("inter_weight", "intra_weight"),
    source="arXiv 2205.10536",
    equation="CE + T² (β (1 − ρ over classes) + γ (1 − ρ over instances)), ρ Pearson's correlation",
)
METHODS.register(
    "ttm",
    TTMOptions,
    "rlkd_run.methods.ttm:TTM",
    uses_temperature=False,
    source="arXiv 2402.11148",
    equation="CE + KL(p^γ / Σ p^γ ‖ q), p and q at T = 1",
)
METHODS.register(
    "wttm",
    TTMOptions,
    "rlkd_run.methods.wttm:WTTM",
    uses_temperature=False,
    source="arXiv 2402.11148",
    equation="as ttm, each instance weighted by Σ p^γ",
)
METHODS.register(
    "pesf",
    PESFOptions,
    "rlkd_run.methods.pesf:PESF",
    source="arXiv 2205.15308",
    equation="CE + KL_T(v′, u) + CE(v′), v′ = v − adapter(f_t)",
)
METHODS.register(
    "annealing",
    AnnealingOptions,
    "rlkd_run.methods.annealing:Annealing",
    uses_temperature=False,
    source="arXiv 2104.07163",
    equation="first (u − φ v)², φ from 1/steps to 1; then CE",
)

# Methods that compare features.
METHODS.register(
    "fitnet",
    FitNetOptions,
    "rlkd_run.methods.fitnet:FitNet",
    source="arXiv 1412.6550",
    equation="CE + KL_T + w · (r(F_s) − F_t)² on one map",
)
METHODS.register(
    "at",
    FeatureOptions,
    "rlkd_run.methods.at:AT",
    source="arXiv 1612.03928",
    equation="CE + KL_T + w · Σ (Q_s − Q_t)², Q the normalised mean square over channels",
)
METHODS.register(
    "sp",
    FeatureOptions,
    "rlkd_run.methods.sp:SP",
    source="arXiv 1907.09682",
    equation="CE + KL_T + w · (G_s − G_t)² / B², G the similarities within the batch",
)
METHODS.register(
    "cc",
    CCOptions,
    "rlkd_run.methods.cc:CC",
    source="arXiv 1904.01802",
    equation="CE + KL_T + w · Σ D_i D_{i+1}, D the distance of embedded features",
)
METHODS.register(
    "vid",
    VIDOptions,
    "rlkd_run.methods.vid:VID",
    source="arXiv 1904.05835",
    equation="CE + KL_T + w · ½ [(μ(F_s) − F_t)² / s² + ln s²]",
)
METHODS.register(
    "rkd",
    RKDOptions,
    "rlkd_run.methods.rkd:RKD",
    source="arXiv 1904.05068",
    equation="CE + KL_T + w · (distances of pairs + angles of triples)",
)
METHODS.register(
    "pkt",
    FeatureOptions,
    "rlkd_run.methods.pkt:PKT",
    source="arXiv 1803.10837",
    equation="CE + KL_T + w · KL of cosine similarities within the batch",
)
METHODS.register(
    "nst",
    FeatureOptions,
    "rlkd_run.methods.nst:NST",
    source="arXiv 1707.01219",
    equation="CE + KL_T + w · MMD² of normalised channels, k(a, b) = (a·b)²",
)
METHODS.register(
    "crd",
    CRDOptions,
    "rlkd_run.methods.crd:CRD",
    source="arXiv 1910.10699",
    equation="CE + KL_T + w · NCE against K remembered images of other classes, both ways",
)
METHODS.register(
    "srrl",
    FeatureOptions,
    "rlkd_run.methods.srrl:SRRL",
    source="ICLR 2021",
    equation="CE + KL_T + w · [(φ(f_s) − f_t)² + (W_t φ(f_s) + b_t − v)²]",
)
METHODS.register(
    "reviewkd",
    ReviewKDOptions,
    "rlkd_run.methods.reviewkd:ReviewKD",
    source="arXiv 2104.09044",
    equation="CE + KL_T + w · min(e/W, 1) · pyramid distance of fused stages",
)
METHODS.register(
    "diffkd",
    DiffKDOptions,
    "rlkd_run.methods.diffkd:DiffKD",
    source="arXiv 2305.15712",
    equation="CE + KL_T(v, D(u)) + w · (D(F_s) − enc(F_t))² + losses of the denoiser D and the autoencoder",
)
METHODS.register(
    "infoflow",
    InfoFlowOptions,
    "rlkd_run.methods.infoflow:InfoFlow",
    source="arXiv 2005.00727",
    equation="CE + KL_T + w · [J(f) + w_e Σ J(F)], w_e falling; J Jeffreys' divergence of neighbourhoods",
)

TEMPERATURES.register(
    "fixed", FixedOptions, "rlkd_run.temperature.fixed:Fixed", source="arXiv 1503.02531", equation="T constant"
)
TEMPERATURES.register(
    "rlkd",
    RLKDOptions,
    "rlkd_run.temperature.rlkd:RLKD",
    uses_agent=True,
    source="arXiv 2407.00115",
    equation="T_i = T_min + (T_max − T_min) σ(z_i), z_i ~ N(μ_θ(s_i), σ²), θ by PPO",
)
TEMPERATURES.register(
    "random",
    RandomOptions,
    "rlkd_run.temperature.random:Random",
    uses_agent=True,
    source="ours (control)",
    equation="as rlkd with an untrained μ_θ, or T_i uniform over the range",
)
TEMPERATURES.register(
    "linear",
    ScheduleOptions,
    "rlkd_run.temperature.schedules:Linear",
    source="ours",
    equation="T from start to end on a line over the epochs",
)
TEMPERATURES.register(
    "cosine",
    ScheduleOptions,
    "rlkd_run.temperature.schedules:Cosine",
    source="ours",
    equation="T from start to end on half a cosine wave over the epochs",
)
TEMPERATURES.register(
    "ctkd",
    CTKDOptions,
    "rlkd_run.temperature.ctkd:CTKD",
    source="arXiv 2211.16231",
    equation="T = t_start + t_range σ(r), r trained to raise the loss, with λ(e) from 0 to 1",
)
TEMPERATURES.register(
    "ctkd_instance",
    CTKDInstanceOptions,
    "rlkd_run.temperature.ctkd_instance:InstanceCTKD",
    source="arXiv 2211.16231 (its network is ours)",
    equation="as ctkd, r_i = MLP(softmax(v_i), softmax(u_i))",
)
TEMPERATURES.register(
    "dtkd",
    DTKDPolicyOptions,
    "rlkd_run.temperature.dtkd:DTKD",
    source="arXiv 2404.12711",
    equation="T_t = 2τ x/(x + s), T_s = 2τ s/(x + s), x and s the largest logits",
)
TEMPERATURES.register(
    "lskd_std",
    StdOptions,
    "rlkd_run.temperature.lskd_std:LogitStd",
    source="after arXiv 2403.01732",
    equation="T_t = base · std(v), T_s = base · std(u)",
)

DATASETS.register("cifar10", DatasetOptions, "rlkd_run.data.cifar:open_cifar10")
DATASETS.register("cifar100", DatasetOptions, "rlkd_run.data.cifar:open_cifar100")
DATASETS.register("digits", DatasetOptions, "rlkd_run.data.digits:open_digits")
DATASETS.register("folder", FolderOptions, "rlkd_run.data.folder:open_folder")
DATASETS.register("imagenet", ImageNetOptions, "rlkd_run.data.imagenet:open_imagenet")
