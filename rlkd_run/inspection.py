"""A finished run looked at again: its student measured, or exported for use elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlkd_run import teachers
from rlkd_run.auxiliary import taught_by
from rlkd_run.config.identity import teacher_folder
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import Dataset, images_record
from rlkd_run.device import channels_last, prepare
from rlkd_run.errors import ConfigError, RunError, in_a_line
from rlkd_run.evaluation import Accuracy
from rlkd_run.evaluation import evaluate as measure
from rlkd_run.experiment import open_data
from rlkd_run.files import write_atomically, writing
from rlkd_run.models.build import build_model
from rlkd_run.models.placement import place
from rlkd_run.models.weights import load_weights, save_weights
from rlkd_run.record import RESULT, STUDENT, read_json
from rlkd_run.same_images import place_of
from rlkd_run.teacher_weights import find_weights
from rlkd_run.words import listed


def evaluate(config: RunConfig, images: str | None) -> None:
    """Measure the student of ``run=FOLDER``, and its teacher if its weights are still there; print, and write JSON.

    Args:
        config: the run's folder, and the runtime of this command.
        images: the folder that takes the place of the recorded one; None: none does.

    Raises:
        ConfigError: the folder does not hold a finished distillation; its images are not there, or have other classes;
            it cannot be written, and the numbers are printed.
    """
    folder, stored, record = _finished_run(config)
    device = prepare(config.runtime)
    seen = replace(_with_images(stored, folder, images, device), runtime=config.runtime)
    dataset = open_data(seen, device)
    print(f"images    {dataset.name}, dataset.root={place_of(seen.dataset)}", flush=True)
    if record is not None and record["classes"] != dataset.class_names:
        raise ConfigError(
            f"dataset.root={place_of(seen.dataset)} has other classes than run={folder} was trained with: "
            f"{_differences(record['classes'], dataset.class_names)}."
        )
    scores = {"student": _score(_student(stored, folder, images_record(dataset)), dataset, seen, device)}
    teaching = taught_by(stored)
    try:
        teacher = _teacher(teaching, folder, dataset, device)
    except ConfigError as error:  # the student's score shall not be lost for it
        print(f"teacher   not measured: {error}")
    else:
        scores["teacher"] = _score(teacher, dataset, seen, device)
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


def export(config: RunConfig, images: str | None) -> None:
    """Write the student of ``run=FOLDER`` to ``FOLDER/export``: weights, a JSON card, and ONNX if asked for.

    Args:
        config: the run's folder, and the runtime of this command.
        images: as `evaluate`; asked only if the run's record says nothing of its images, as of earlier versions.

    Raises:
        ConfigError: the folder does not hold a finished distillation, or cannot be written, or ONNX is asked for
            without its packages.
        RunError: torch's exporter to ONNX gives up; weights and card are written.
    """
    folder, stored, record = _finished_run(config)
    device = prepare(replace(config.runtime, device="cpu"))
    if record is None:
        seen = replace(_with_images(stored, folder, images, device), runtime=config.runtime)
        record = images_record(open_data(seen, device))
    student = _student(stored, folder, record)
    target = folder / "export"
    result = read_json(folder / RESULT)
    card = {
        "architecture": {"source": stored.student.source, "model": stored.student.model},
        "classes": record["classes"],
        "input": {key: record[key] for key in ("shape", "mean", "std")},
        **{key: result[key] for key in _OF_THE_RUN if key in result},
    }
    with writing(str(target)):
        target.mkdir(exist_ok=True)
        save_weights(student, target / STUDENT)
        write_atomically(target / "card.json", json.dumps(card, indent=1).encode())
    if config.task.onnx:
        _write_onnx(student, record["shape"], target / "student.onnx")
    print(f"written   {target}: {', '.join(sorted(path.name for path in target.iterdir()))}")


_OF_THE_RUN = ("dataset", "student", "teacher", "auxiliary", "method", "temperature", "seed", "identity")
"""What a card repeats of a run's record, which has an auxiliary teacher only where one taught."""


def _finished_run(config: RunConfig) -> tuple[Path, RunConfig, dict[str, Any] | None]:
    """The folder of ``run=``, its configuration as recorded, and what it says of its images."""
    assert config.top.run is not None  # checked when the configuration was composed
    folder = Path(config.top.run)
    result = read_json(folder / RESULT)
    if result.get("task") != "distill" or not (folder / STUDENT).is_file():
        raise ConfigError(f"run={folder} is not the folder of a finished distillation.")
    return folder, RunConfig.from_dict(result["config"]), result.get("images")


def _with_images(stored: RunConfig, folder: Path, images: str | None, device: torch.device) -> RunConfig:
    """The run's configuration for images that may have moved; its teacher is found by where they were.

    What was decoded on a GPU differs by a few of 255 levels here, if there is none: no reason to look at nothing.
    """
    if device.type == "cpu" and getattr(stored.dataset, "decode", None) == "gpu":
        stored = replace(stored, dataset=replace(stored.dataset, decode="cpu"))
    if images is not None:
        values = stored.to_dict()
        return RunConfig.from_dict({**values, "dataset": {**values["dataset"], "root": images}})
    root = getattr(stored.dataset, "root", ".")
    if not Path(root).exists():
        raise ConfigError(
            f"run={folder} has its images in {root}, which is not there; dataset.root=FOLDER says where they are now."
        )
    return stored


def _differences(before: list[str], now: list[str]) -> str:
    more = [name for name in now if name not in before]
    fewer = [name for name in before if name not in now]
    words = [f"{what} {listed(names)}" for what, names in (("it adds", more), ("it lacks", fewer)) if names]
    return ", ".join(words) or "it has them in another order"


def _student(stored: RunConfig, folder: Path, record: Mapping[str, Any]) -> nn.Module:
    student = build_model(
        stored.student.source,
        stored.student.model,
        len(record["classes"]),
        image_size=tuple(record["shape"][1:]),
    )
    load_weights(student, folder / STUDENT, what="student")
    return student.eval()


def _teacher(teaching: RunConfig, folder: Path, dataset: Dataset, device: torch.device) -> nn.Module:
    """The network that the run learnt from.

    Raises:
        ConfigError: its weights are not there, cannot be read, or are others now.
    """
    teacher = teachers.build(teaching, dataset, device)
    if teachers.is_published(teaching, teacher, dataset):
        return teacher
    weights = find_weights(teaching)
    if weights is None:
        raise ConfigError(f"no weights in {teacher_folder(teaching)}")
    result = read_json(folder / RESULT)
    then = (result.get("auxiliary") or result["teacher"]).get("sha256")  # versions before noted none
    if then not in (None, teachers.load(teaching, teacher, weights).sha256):
        raise ConfigError(f"{weights} holds other weights now than when the run learnt from them")
    return teacher


def _score(model: nn.Module, dataset: Dataset, config: RunConfig, device: torch.device) -> Accuracy:
    place(model, device, channels_last=channels_last(config.runtime, device))
    return measure(model, dataset.test_batches(config.runtime.eval_batch_size))


def _write_onnx(student: nn.Module, shape: Sequence[int], path: Path) -> None:
    """ONNX with a free batch size; input ``images`` normalised as the card says, output ``logits``."""
    try:
        import onnx
        import onnxscript
    except ModuleNotFoundError as error:
        raise ConfigError(f"task.onnx=true needs the package {error.name}: pip install 'rlkd-run[onnx]'.") from error
    images = torch.zeros(2, *shape)
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
        assert program is not None
        with writing(str(path)):
            program.save(path)
    # The exporter's own error (torch 2.6 with an onnxscript of later years), or one of onnxscript's passes or its
    # writer, which torch does not wrap (onnxscript 0.2 with protobuf 7, for one): all are of this type.
    except RuntimeError as error:
        raise RunError(
            f"torch {torch.__version__} could not translate the student to ONNX with onnxscript "
            f"{onnxscript.__version__} and onnx {onnx.__version__} ({in_a_line(error)}; newer versions of all three "
            f"usually help); weights and card are written to {path.parent}."
        ) from error
