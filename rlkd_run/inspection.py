"""A finished run looked at again: its student measured, or exported for use elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlkd_run import teachers
from rlkd_run.auxiliary import STUDENT, taught_by
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import Dataset
from rlkd_run.device import channels_last, prepare
from rlkd_run.errors import ConfigError, RunError
from rlkd_run.evaluation import Accuracy
from rlkd_run.evaluation import evaluate as measure
from rlkd_run.experiment import open_data
from rlkd_run.files import write_atomically, writing
from rlkd_run.models.build import build_model
from rlkd_run.models.placement import place
from rlkd_run.models.weights import load_weights, save_weights
from rlkd_run.record import read_json
from rlkd_run.teacher_weights import find_weights


def evaluate(config: RunConfig) -> None:
    """Measure the student of ``run=FOLDER``, and its teacher if its weights are still there; print, and write JSON.

    Raises:
        ConfigError: the folder does not hold a finished distillation, or cannot be written; the numbers are printed.
    """
    folder, stored = _finished_run(config)
    device = prepare(config.runtime)
    dataset = open_data(stored, device)
    scores = {"student": _score(_student(stored, folder, dataset), dataset, stored, device)}
    teaching = taught_by(stored)
    teacher = teachers.build(teaching, dataset, device)
    if teachers.is_published(teaching, teacher, dataset) or find_weights(teaching) is not None:
        teachers.equip(teaching, teacher, dataset, device)
        scores["teacher"] = _score(teacher, dataset, stored, device)
    else:
        print("teacher   its weights are no longer there: not measured")
    for role, accuracy in scores.items():
        name = getattr(teaching, role).model
        print(
            f"{role:<9} {name}: {accuracy.top1:.2f} % top-1, {accuracy.top5:.2f} % top-5 on {dataset.num_test} images",
            flush=True,
        )
    path = folder / "evaluation.json"
    content = json.dumps({role: score._asdict() for role, score in scores.items()}, indent=1)
    with writing(str(path)):
        write_atomically(path, content.encode())
    print(f"written   {path}")


def export(config: RunConfig) -> None:
    """Write the student of ``run=FOLDER`` to ``FOLDER/export``: weights, a JSON card, and ONNX if asked for.

    Raises:
        ConfigError: the folder does not hold a finished distillation, or cannot be written, or ONNX is asked for
            without its packages.
        RunError: torch's exporter to ONNX gives up; weights and card are written.
    """
    folder, stored = _finished_run(config)
    device = prepare(replace(config.runtime, device="cpu"))
    dataset = open_data(stored, device)
    student = _student(stored, folder, dataset)
    target = folder / "export"
    result = read_json(folder / "result.json")
    card = {
        "architecture": {"source": stored.student.source, "model": stored.student.model},
        "classes": dataset.class_names,
        "input": {"shape": list(dataset.image_shape), "mean": dataset.mean, "std": dataset.std},
        **{key: result[key] for key in ("dataset", "student", "teacher", "method", "temperature", "seed", "identity")},
    }
    with writing(str(target)):
        target.mkdir(exist_ok=True)
        save_weights(student, target / STUDENT)
        write_atomically(target / "card.json", json.dumps(card, indent=1).encode())
    if config.task.onnx:
        _write_onnx(student, dataset, target / "student.onnx")
    print(f"written   {target}: {', '.join(sorted(path.name for path in target.iterdir()))}")


def _finished_run(config: RunConfig) -> tuple[Path, RunConfig]:
    """The folder and configuration of ``run=``; runtime and, if its data have moved, data folder of this command."""
    assert config.top.run is not None  # checked when the configuration was composed
    folder = Path(config.top.run)
    result = read_json(folder / "result.json")
    if result.get("task") != "distill" or not (folder / STUDENT).is_file():
        raise ConfigError(f"run={folder} is not the folder of a finished distillation.")
    values: dict[str, Any] = result["config"]
    if not Path(values["dataset"].get("root") or ".").exists():
        values["dataset"]["root"] = config.dataset.root
    return folder, replace(RunConfig.from_dict(values), runtime=config.runtime)


def _student(stored: RunConfig, folder: Path, dataset: Dataset) -> nn.Module:
    student = build_model(
        stored.student.source, stored.student.model, dataset.num_classes, image_size=dataset.image_shape[1:]
    )
    load_weights(student, folder / STUDENT, what="student")
    return student.eval()


def _score(model: nn.Module, dataset: Dataset, config: RunConfig, device: torch.device) -> Accuracy:
    place(model, device, channels_last=channels_last(config.runtime, device))
    return measure(model, dataset.test_batches(config.runtime.eval_batch_size))


def _write_onnx(student: nn.Module, dataset: Dataset, path: Path) -> None:
    """ONNX with a free batch size; input ``images`` normalised as the card says, output ``logits``."""
    try:
        import onnx  # noqa: F401
        import onnxscript
    except ModuleNotFoundError as error:
        raise ConfigError(f"task.onnx=true needs the package {error.name}: pip install 'rlkd-run[onnx]'.") from error
    images = torch.zeros(2, *dataset.image_shape)
    batch = torch.export.Dim("batch")
    try:
        program = torch.onnx.export(
            student.to(memory_format=torch.contiguous_format),
            (images,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:  # torch 2.6 with an onnxscript of later years, for one
        raise RunError(
            f"torch {torch.__version__} could not translate the student to ONNX with onnxscript "
            f"{onnxscript.__version__} (a newer torch usually helps); weights and card are written to {path.parent}."
        ) from error
    assert program is not None
    with writing(str(path)):
        program.save(path)
