"""One run from top to bottom: data, teacher, student, training, record."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run import environment, teachers
from rlkd_run.assembly import give_answers, trainer_for
from rlkd_run.auxiliary import auxiliary_run, result_of, taught_by, teachers_record
from rlkd_run.branches import Branches
from rlkd_run.common import Common
from rlkd_run.config.identity import cell_hash, file_hash, run_folder, run_hash
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.contract import built
from rlkd_run.data.dataset import Dataset, Loading, fingerprint_of, open_dataset
from rlkd_run.departures import departures
from rlkd_run.device import channels_last, prepare
from rlkd_run.errors import ConfigError, about
from rlkd_run.evaluation import Accuracy, evaluate
from rlkd_run.files import writing
from rlkd_run.fit import Fit, common_result, evaluations
from rlkd_run.methods.base import Method, Setting
from rlkd_run.models.build import build_model
from rlkd_run.models.count import parameters
from rlkd_run.models.dry_run import evaluation_mode
from rlkd_run.models.features import Network
from rlkd_run.models.placement import place
from rlkd_run.models.single_image import check_last_batch
from rlkd_run.models.weights import save_weights
from rlkd_run.objectives import Distillation
from rlkd_run.own_code import keep_version, own_code
from rlkd_run.protocol import Batch, Needs
from rlkd_run.record import STUDENT, RunFolder, finished
from rlkd_run.same_images import check_resumable, check_taught_by
from rlkd_run.seeding import derive_seed
from rlkd_run.teacher_cache import check_place, teacher_for
from rlkd_run.teacher_weights import find_weights
from rlkd_run.temperature.base import Policy, PolicySetting


def distill(config: RunConfig, *, wait: bool = False) -> None:
    """Distil a student, or go on where a stopped run was left.

    Args:
        config: the run.
        wait: for another process that is at the same run, instead of raising.

    Raises:
        ConfigError, Interrupted, RunError: as `distillation`.
    """
    with Common() as common:
        for _ in distillation(config, common, wait=wait):
            pass


def distillation(
    config: RunConfig, common: Common, *, wait: bool = False, label: str = "", bar: bool = True
) -> Generator[None, None, None]:
    """As `distill`, for somebody who asks for one step after the other; the preparation is the first of them.

    Args:
        config: the run.
        common: of the runs in this process, whose teacher and data set are the same.
        wait: for another process that is at the same run, instead of raising.
        label: what the run's lines begin with.
        bar: whether its progress may be drawn.

    Raises:
        ConfigError: a mistake of the user's; nothing was written.
        Interrupted, RunError: as `Fit.run`; what was reached is kept.
    """
    device = prepare(config.runtime)
    environment.code()  # now, as the record shall have it: it is imported, and may change while this trains
    code = own_code(config)  # now: it is about to be imported, and a teacher may take hours
    dataset = common.once(("data", config.probe_images), lambda: open_data(config, device))
    # Some data sets read them now, so that no step waits for them.
    if config.probe_images and dataset.probe_batch() is None:
        raise ConfigError(f"agent.reward=probe: dataset={config.dataset.name} sets no probe images aside.")
    # Everything is put together before a teacher is trained, so that a mistake costs no teacher.
    teaching = taught_by(config)
    teacher = common.once("network", lambda: teachers.build(teaching, dataset, device, set_aside=config.probe_images))
    objective = build(config, dataset, teacher, device)
    check_place(teaching, objective.teacher.needs)
    # And its folder is taken before a teacher is waited for, so that the same command typed twice is refused at once.
    with RunFolder(run_folder(config), wait=wait) as folder:
        if finished(folder.path):  # by another process, since this one looked
            return
        images = fingerprint_of(dataset)
        check_resumable(folder, images, config.dataset)
        folder.begin(config.to_dict(), images=images)
        auxiliary, first = auxiliary_run(config), None
        if auxiliary is not None:
            other = run_folder(auxiliary)
            print(f"auxiliary {auxiliary.student.model}, distilled first\nfolder    {other}", flush=True)
            folder.phase("its auxiliary teacher is being distilled")
            distill(auxiliary, wait=True)
            first = result_of(other)
            check_taught_by(other, images, config.dataset, "remove it to have it distilled anew")
        origin = common.once(
            "weights",
            lambda: teachers.equip(teaching, teacher, teachers_data(teaching, dataset, device), device, folder.phase),
        )
        teachers.keep_to(folder, origin)
        loader = dataset.train_batches(config.recipe.batch_size, derive_seed(config.seed, "data"))
        measures = evaluations(objective.model, dataset, config.runtime.eval_batch_size)
        trainer = trainer_for(objective, loader, config.recipe, config.runtime, device)
        shown = replace(config.runtime, progress=config.runtime.progress and bar)
        fit = Fit(trainer, folder, shown, measures, label=label)
        torch.manual_seed(derive_seed(config.seed, "training"))
        if fit.resume():
            print(f"{label}resumed   after {trainer.epoch} epochs and {trainer.step} steps", flush=True)
        else:
            test = dataset.test_batches(config.runtime.eval_batch_size)
            fit.facts["teacher"] = common.once("accuracy", lambda: evaluate(teacher, test))._asdict()
        keep_version(fit.facts, code, label)
        measured = Accuracy(**fit.facts["teacher"])
        if common.first("told"):
            print(f"teacher   {origin.words}, {measured.top1:.2f} % top-1", flush=True)
            teachers.warn_if_far(teaching, dataset, measured)
        answers = common.once(
            ("answers", config.probe_images, objective.teacher.needs),
            lambda: teacher_for(teaching, objective.teacher, loader, dataset, folder.phase),
        )
        give_answers(config, objective, answers)
        yield
        with common.stopping() as stop:
            yield from fit.steps(stop)
        history = fit.history
        with writing(str(folder.path / STUDENT)):
            save_weights(objective.model, folder.path / STUDENT)
        folder.write_result(
            {
                "task": "distill",
                "student": {
                    "name": config.student.model,
                    **history.best_and_last("test"),
                    "parameters": parameters(objective.model),
                    "sha256": file_hash(folder.path / STUDENT),
                },
                **teachers_record(config, {**fit.facts["teacher"], "sha256": origin.sha256}, first),
                "method": config.method.name,
                "temperature": config.temperature.name,
                "agent": config.choices["agent"] if config.uses_agent else None,
                "identity": {"run": run_hash(config), "cell": cell_hash(config)},
                # It takes a composition, and is for what is held against the literature.
                "departures": departures(config),
                "own_code": fit.facts["own_code"],
                **common_result(config, dataset, fit, seed=config.seed),
            }
        )
        fit.checkpoints.remove()


def train_teacher(config: RunConfig) -> None:
    """Train the teacher that a distillation with the same options would use.

    Raises:
        ConfigError: the options say that the teacher's weights are given.
        Interrupted, RunError: as `Fit.run`; what was reached is kept.
    """
    device = prepare(config.runtime)
    teachers.train(config, open_data(config, device, probe_images=0), device)


def open_data(config: RunConfig, device: torch.device, *, probe_images: int | None = None) -> Dataset:
    """The run's data set; `probe_images` overrides how many images the agent's reward sets aside."""
    loading = Loading(
        device,
        config.runtime.num_workers,
        channels_last(config.runtime, device),
        config.probe_images if probe_images is None else probe_images,
    )
    return open_dataset(config.dataset, loading)


def teachers_data(config: RunConfig, dataset: Dataset, device: torch.device) -> Dataset:
    """A teacher learns from all training images, also those that this run's agent sets aside."""
    if config.probe_images and find_weights(config) is None:
        return open_data(config, device, probe_images=0)
    return dataset


def build(config: RunConfig, dataset: Dataset, teacher: nn.Module, device: torch.device) -> Distillation:
    """Student, method and policy around a teacher, each from a random stream of its own."""
    torch.manual_seed(derive_seed(config.seed, "weights"))
    with about("student.model"):
        student = build_model(
            config.student.source,
            config.student.model,
            dataset.num_classes,
            pretrained=config.student.pretrained,
            image_size=dataset.image_shape[1:],
        )
    place(student, device, channels_last=channels_last(config.runtime, device))
    batch_size = config.recipe.batch_size
    check_last_batch("student", config.student.model, student, dataset.image_shape, dataset.num_train, batch_size)
    method_class = METHODS[config.method.name].load()
    torch.manual_seed(derive_seed(config.seed, "method"))
    setting = Setting(
        student, teacher, dataset.num_classes, dataset.num_train, dataset.image_shape, config.recipe.epochs
    )
    method = built(method_class, Method, config.method, setting).to(device)
    steps = -(-dataset.num_train // config.recipe.batch_size)
    policy = built(
        TEMPERATURES[config.temperature.name].load(),
        Policy,
        config.temperature,
        PolicySetting(config, dataset.num_classes, dataset.num_train, steps, device),
    )
    return Distillation(
        _with_features("student", student, method_class.needs, dataset, config.runtime.precision),
        _with_features("teacher", teacher, method_class.needs, dataset, config.runtime.teacher_precision),
        method,
        policy,
        lambda: probe_loss(student, dataset.probe_batch()),
        Branches(device if config.runtime.branches else None),
        watched=config.uses_temperature and config.temperature.name != "fixed",
    )


def _with_features(role: str, model: nn.Module, needs: Needs, dataset: Dataset, precision: str) -> Network:
    """The network with the features that the method needs; refused here if it has none."""
    with about(f"{role}.model"):
        network = Network(model, needs, precision)
        if needs.maps:
            network.map_shapes(dataset.image_shape)
    return network


@torch.no_grad()
def probe_loss(model: nn.Module, probe: Batch | None) -> Tensor:
    """Cross entropy on the images set aside, in evaluation mode, 0-dim; the mode is restored."""
    if probe is None:
        raise ValueError("the run set no probe images aside")
    with evaluation_mode(model):
        return F.cross_entropy(model(probe.images), probe.target)
