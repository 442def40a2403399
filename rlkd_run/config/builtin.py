"""What this package registers itself: the built-in methods, temperature policies and data sets."""

from __future__ import annotations

from rlkd_run.config.datasets import DatasetOptions, FolderOptions
from rlkd_run.config.feature_methods import (
    CCOptions,
    CRDOptions,
    FitNetOptions,
    ReviewKDOptions,
    RKDOptions,
    VIDOptions,
)
from rlkd_run.config.logit_methods import DISTOptions, DKDOptions, DTKDOptions, TTMOptions
from rlkd_run.config.methods import FeatureOptions, KDOptions
from rlkd_run.config.registry import DATASETS, METHODS, TEMPERATURES
from rlkd_run.config.related_methods import DiffKDOptions, InfoFlowOptions
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

METHODS.register("kd", KDOptions, "rlkd_run.methods.kd:KD")
METHODS.register("lskd", KDOptions, "rlkd_run.methods.kd:KD")
METHODS.register("dkd", DKDOptions, "rlkd_run.methods.dkd:DKD")
METHODS.register("dtkd", DTKDOptions, "rlkd_run.methods.dtkd:DTKD")
METHODS.register("dist", DISTOptions, "rlkd_run.methods.dist:DIST")
METHODS.register("ttm", TTMOptions, "rlkd_run.methods.ttm:TTM", uses_temperature=False)
METHODS.register("wttm", TTMOptions, "rlkd_run.methods.wttm:WTTM", uses_temperature=False)

# Methods that compare features.
METHODS.register("fitnet", FitNetOptions, "rlkd_run.methods.fitnet:FitNet")
METHODS.register("at", FeatureOptions, "rlkd_run.methods.at:AT")
METHODS.register("sp", FeatureOptions, "rlkd_run.methods.sp:SP")
METHODS.register("cc", CCOptions, "rlkd_run.methods.cc:CC")
METHODS.register("vid", VIDOptions, "rlkd_run.methods.vid:VID")
METHODS.register("rkd", RKDOptions, "rlkd_run.methods.rkd:RKD")
METHODS.register("pkt", FeatureOptions, "rlkd_run.methods.pkt:PKT")
METHODS.register("nst", FeatureOptions, "rlkd_run.methods.nst:NST")
METHODS.register("crd", CRDOptions, "rlkd_run.methods.crd:CRD")
METHODS.register("srrl", FeatureOptions, "rlkd_run.methods.srrl:SRRL")
METHODS.register("reviewkd", ReviewKDOptions, "rlkd_run.methods.reviewkd:ReviewKD")
METHODS.register("diffkd", DiffKDOptions, "rlkd_run.methods.diffkd:DiffKD")
METHODS.register("infoflow", InfoFlowOptions, "rlkd_run.methods.infoflow:InfoFlow")

TEMPERATURES.register("fixed", FixedOptions, "rlkd_run.temperature.fixed:Fixed")
TEMPERATURES.register("rlkd", RLKDOptions, "rlkd_run.temperature.rlkd:RLKD", uses_agent=True)
TEMPERATURES.register("random", RandomOptions, "rlkd_run.temperature.random:Random", uses_agent=True)
TEMPERATURES.register("linear", ScheduleOptions, "rlkd_run.temperature.schedules:Linear")
TEMPERATURES.register("cosine", ScheduleOptions, "rlkd_run.temperature.schedules:Cosine")
TEMPERATURES.register("ctkd", CTKDOptions, "rlkd_run.temperature.ctkd:CTKD")
TEMPERATURES.register("ctkd_instance", CTKDInstanceOptions, "rlkd_run.temperature.ctkd_instance:InstanceCTKD")
TEMPERATURES.register("dtkd", DTKDPolicyOptions, "rlkd_run.temperature.dtkd:DTKD")
TEMPERATURES.register("lskd_std", StdOptions, "rlkd_run.temperature.lskd_std:LogitStd")

DATASETS.register("cifar10", DatasetOptions, "rlkd_run.data.cifar:open_cifar10")
DATASETS.register("cifar100", DatasetOptions, "rlkd_run.data.cifar:open_cifar100")
DATASETS.register("digits", DatasetOptions, "rlkd_run.data.digits:open_digits")
DATASETS.register("folder", FolderOptions, "rlkd_run.data.folder:open_folder")
