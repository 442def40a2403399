"""Options of a run as a whole: recipe, runtime, task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rlkd_run.config.option import option

INSPECTIONS = ("evaluate", "export")
"""The tasks on a finished run."""


@dataclass
class TempBalanceOptions:
    """Learning rates of the layers by the spectra of their weights (TempBalance, arXiv 2312.00359)."""

    assign: str = option(
        "from a spectrum's exponent to a factor: linear, or step by its rank, from low to high; sqrt, log2 of it over "
        "its mean",
        choices=("linear", "step", "sqrt", "log2"),
    )
    low: float = option("factor of the layer with the heaviest tail", gt=0)
    high: float = option("factor of the layer with the lightest tail", gt=0)
    min_eigenvalues: int = option("layers with fewer keep the schedule's rate", ge=1)


@dataclass
class RecipeOptions:
    """The student's training: SGD with momentum and a learning rate that falls."""

    epochs: int = option("passes over the training set", ge=1)
    batch_size: int = option("images a step", ge=1)
    lr: float = option("initial learning rate of the student", gt=0)
    milestones: list[int] = option("the learning rate drops after these epochs", ge=1)
    lr_decay: float = option("factor of each drop", gt=0, le=1)
    momentum: float = option("momentum of SGD", ge=0, lt=1)
    nesterov: bool = option("Nesterov's form of momentum")
    weight_decay: float = option("L2 penalty on every trainable weight", ge=0)
    schedule: str = option(
        "step: lr_decay after each milestone; cosine: half a wave towards 0", choices=("step", "cosine"), neutral="step"
    )
    lr_policy: str = option(
        "none: one learning rate; tempbalance: each layer of the student its own, renewed every epoch",
        choices=("none", "tempbalance"),
        neutral="none",
    )
    tempbalance: Optional[TempBalanceOptions] = option(
        "how tempbalance assigns rates", neutral=None, when=("lr_policy", ("tempbalance",))
    )


@dataclass
class RuntimeOptions:
    """Where and how a run is carried out; all but the precisions changes speed and at most last bits."""

    device: str = option("auto takes a GPU if there is one", choices=("auto", "cpu", "cuda"), identity=False)
    deterministic: bool = option("deterministic kernels: equal runs end in equal bits", identity=False)
    num_threads: Optional[int] = option("CPU threads of torch; null: all cores", ge=1, le=4096, identity=False)
    num_workers: Optional[int] = option("processes that decode image files; null: chosen here", ge=0, identity=False)
    channels_last: Optional[bool] = option("memory layout NHWC; null: what the device is fastest with", identity=False)
    fold_teacher: bool = option("teacher with its batch norms folded into convolutions", identity=False, neutral=False)
    precision: str = option(
        "of the student's passes: fp32; tf32: products of teacher and student on NVIDIA's tensor cores; bf16; teachers "
        "are trained in fp32",
        choices=("fp32", "tf32", "bf16"),
        neutral="fp32",
    )
    teacher_precision: str = option("of the teacher's passes", choices=("fp32", "bf16"), neutral="fp32")
    compile: str = option(
        "networks through torch.compile: none; teacher, when it answers; all, in training too; pays in long runs only",
        choices=("none", "teacher", "all"),
        identity=False,
        neutral="none",
    )
    capture: bool = option(
        "on a GPU, whole steps as graphs that are captured once (images of one size that live there)",
        identity=False,
        neutral=False,
    )
    cohort: int = option(
        "runs of a sweep that differ in seed, method, temperature or agent only: so many side by side in one process",
        ge=1,
        identity=False,
        neutral=1,
    )
    branches: bool = option(
        "in captured steps, weights' gradients, the teacher and what the record notes beside the rest",
        identity=False,
        neutral=False,
    )
    eval_batch_size: int = option("images a step of evaluation", ge=1, identity=False)
    jobs_per_gpu: Optional[int] = option(
        "of a sweep on this machine: each job sees one GPU, and a GPU has at most so many; null: the launcher decides",
        ge=1,
        identity=False,
        neutral=None,
    )
    checkpoint_minutes: float = option("save also within an epoch when this long has passed", gt=0, identity=False)
    progress: bool = option("progress bar", identity=False)
    tensorboard: bool = option("write TensorBoard events", identity=False)
    wandb: Optional[str] = option("project of Weights & Biases to log to; null: none", identity=False, neutral=None)
    wandb_mode: str = option(
        "online; or offline: into the run folder, for `wandb sync`",
        choices=("online", "offline"),
        identity=False,
        neutral="online",
    )
    teacher_cache: str = option(
        "keep the teacher's answers on disk: none; lazy: as they come up; full: all views of all images first",
        choices=("none", "lazy", "full"),
        identity=False,
        neutral="none",
    )
    teacher_cache_precision: str = option(
        "of the kept answers; fp16 rounds to a relative 2^-11",
        choices=("fp32", "fp16"),
        neutral="fp32",
        when=("teacher_cache", ("lazy", "full")),
    )
    cache_root: str = option("folder of the kept answers", identity=False, neutral="outputs/cache", path=True)


@dataclass
class TaskOptions:
    """What to do."""

    name: str = option("what to do", choices=("distill", "train_teacher", *INSPECTIONS))
    onnx: bool = option("export only: write an ONNX file as well", identity=False)
