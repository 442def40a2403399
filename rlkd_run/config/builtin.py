"""What this package registers itself: the built-in methods, temperature policies and data sets."""

from __future__ import annotations

from rlkd_run.config.datasets import DatasetOptions, FolderOptions
from rlkd_run.config.methods import KDOptions
from rlkd_run.config.registry import DATASETS, METHODS, TEMPERATURES
from rlkd_run.config.temperatures import FixedOptions, RLKDOptions

METHODS.register("kd", KDOptions, "rlkd_run.methods.kd:KD")

TEMPERATURES.register("fixed", FixedOptions, "rlkd_run.temperature.fixed:Fixed")
TEMPERATURES.register("rlkd", RLKDOptions, "rlkd_run.temperature.rlkd:RLKD", uses_agent=True)

DATASETS.register("cifar10", DatasetOptions, "rlkd_run.data.cifar:open_cifar10")
DATASETS.register("cifar100", DatasetOptions, "rlkd_run.data.cifar:open_cifar100")
DATASETS.register("digits", DatasetOptions, "rlkd_run.data.digits:open_digits")
DATASETS.register("folder", FolderOptions, "rlkd_run.data.folder:open_folder")
