"""Where a teacher's weights come from: a file, timm, a run of ours, the zoo of this project, or training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from rlkd_run import environment
from rlkd_run.assembly import trainer_for
from rlkd_run.branches import Branches
from rlkd_run.config.identity import (
    file_hash,
    short_hash,
    teacher_cell_hash,
    teacher_folder,
    teacher_identity,
    teacher_recipe,
)
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.data.dataset import Dataset, TrainLoader, fingerprint_of
from rlkd_run.device import channels_last, full_precision
from rlkd_run.errors import ConfigError, about
from rlkd_run.evaluation import Accuracy
from rlkd_run.files import writing
from rlkd_run.fit import Fit, common_result, evaluations
from rlkd_run.models.build import build_model
from rlkd_run.models.count import parameters
from rlkd_run.models.features import Network
from rlkd_run.models.normalise import native_normalisation, normalised, published_classes
from rlkd_run.models.placement import place
from rlkd_run.models.single_image import check_last_batch
from rlkd_run.models.weights import load_weights, save_weights, stated_normalisation
from rlkd_run.nasty import Nasty
from rlkd_run.objectives import Supervised
from rlkd_run.record import RunFolder, finished
from rlkd_run.results.reported import other_teacher, reported_teacher
from rlkd_run.same_images import check_resumable, check_taught_by
from rlkd_run.seeding import derive_seed
from rlkd_run.teacher_weights import WEIGHTS, find_weights, recorded_hash
from rlkd_run.training import Trainer

DEVIATIONS = 3  # standard deviations from guessing within which a teacher may know nothing


class Origin(NamedTuple):
    """Where a teacher's weights came from.

    Attributes:
        words: for the person who reads.
        sha256: of the file of weights; None where timm's hub gave them.
    """

    words: str
    sha256: str | None


def build(config: RunConfig, dataset: Dataset, device: torch.device, *, set_aside: int = 0) -> nn.Module:
    """The teacher's network, with timm's weights if they are needed, else with fresh ones that depend on its seed only.

    They are not needed where training has started from them before: what came of it is there.

    Args:
        config: of the run that it teaches in.
        dataset: gives classes, size and number of the images.
        device: where.
        set_aside: training images that `dataset` lacks and the teacher would learn from all the same.

    Raises:
        ConfigError: there is no such network, it does not fit the images, or it has to be trained and cannot be with
            this batch size.
    """

    def network(*, pretrained: bool) -> nn.Module:
        torch.manual_seed(_stream(config, "weights"))
        with about("teacher.model"):
            return build_model(
                config.teacher.source,
                config.teacher.model,
                dataset.num_classes,
                pretrained=pretrained,
                image_size=dataset.image_shape[1:],
            )

    trained, own = find_weights(config) is not None, None
    model = network(pretrained=config.teacher.pretrained and not trained)
    if config.teacher.pretrained:
        if trained and is_published(config, model, dataset):  # by an earlier version, to no end
            model = network(pretrained=True)
        own = native_normalisation(model)
    elif config.teacher.checkpoint is not None:
        own = stated_normalisation(config.teacher.checkpoint)
    if not trained and not is_published(config, model, dataset):
        batch_size, num_images = teacher_recipe(config).batch_size, dataset.num_train + set_aside
        check_last_batch("teacher", config.teacher.model, model, dataset.image_shape, num_images, batch_size)
    model = normalised(model, dataset.mean, dataset.std, own)
    return place(model, device, channels_last=channels_last(config.runtime, device))


def is_published(config: RunConfig, model: nn.Module, dataset: Dataset) -> bool:
    """Whether timm's weights teach as they are; for a data set of other classes they are only where training starts."""
    return config.teacher.pretrained and published_classes(model) == dataset.num_classes


def equip(
    config: RunConfig, model: nn.Module, dataset: Dataset, device: torch.device, phase: Callable[[str], None]
) -> Origin:
    """Give a network that `build` made the weights of a trained teacher, which is trained first if there is none.

    Args:
        config: of the run that it teaches in.
        model: the network.
        dataset: what it would be trained on.
        device: where.
        phase: told of a training, before it begins or is waited for.

    Raises:
        ConfigError: the given file, or that of a teacher who was trained before, does not fit or holds no weights; a
            teacher that was trained before was trained on other images.
        Interrupted, RunError: as `train`.
    """
    if is_published(config, model, dataset):
        return Origin(f"timm's weights of {config.teacher.model}", None)
    path = find_weights(config)
    if path is None:
        print(
            f"teacher   no trained {_called(config)} found for this data set and recipe: training it first\n"
            f"folder    {teacher_folder(config)}",
            flush=True,
        )
        phase("its teacher is being trained")
        path = train(config, dataset, device) / WEIGHTS
    elif config.teacher.checkpoint is None:
        remedy = f"remove it to have the teacher trained anew, or give {_as_it_is(config, path)} to use it as it is"
        check_taught_by(path.parent, fingerprint_of(dataset), config.dataset, remedy)
    return load(config, model, path)


def load(config: RunConfig, model: nn.Module, path: Path) -> Origin:
    """Give a network that `build` made the weights in a file.

    Raises:
        ConfigError: the file, given or of a teacher who was trained before, does not fit or holds no weights; or it is
            not the one that was trained there.
    """
    trained = path == teacher_folder(config) / WEIGHTS
    anew = f"remove {path.parent} to have this teacher trained anew"
    try:
        remarks = load_weights(model, path, what="teacher.checkpoint" if config.teacher.checkpoint else "teacher")
    except ConfigError as error:
        if not trained or isinstance(error.__cause__, OSError):  # it may be all right for who may read it
            raise
        # Not trained anew unasked: the record beside the weights is that of the teacher whom other runs had.
        raise ConfigError(f"{problem}; {anew}." for problem in error.problems) from error
    sha256 = file_hash(path)
    if trained and recorded_hash(path.parent) not in (None, sha256):
        raise ConfigError(
            f"{path} does not hold the weights that were trained there: put those back, {anew}, or give "
            f"{_as_it_is(config, path)} to use it as it is."
        )
    return Origin(f"{path} ({', '.join(remarks)})" if remarks else str(path), sha256)


def _as_it_is(config: RunConfig, path: Path) -> str:
    """The options that give the weights in a file, whatever the command says of the teacher now."""
    return f"{'teacher.pretrained=false ' * config.teacher.pretrained}teacher.checkpoint={path}"


def keep_to(folder: RunFolder, origin: Origin) -> None:
    """Note whose weights a run learns from, and refuse to go on with others than it was begun with.

    Args:
        folder: of the run; one of an earlier version, which noted none, passes, and so do timm's weights.
        origin: of the weights as they are.

    Raises:
        ConfigError: they are others.
        RunError: the note could not be written.
    """
    then = folder.noted("teacher_sha256")
    if None not in (then, origin.sha256) and then != origin.sha256 and folder.has_checkpoints():
        raise ConfigError(
            f"{folder.path} was begun with other weights of its teacher than {origin.words} holds now: bring those "
            "back to go on, or remove the folder to start anew."
        )
    folder.status("running", phase=None, teacher_sha256=origin.sha256)


def _called(config: RunConfig) -> str:
    objective = config.teacher.objective
    return config.teacher.model if objective == "labels" else f"{objective} {config.teacher.model}"


def train(config: RunConfig, dataset: Dataset, device: torch.device) -> Path:
    """Train a teacher with its own recipe and seed, in a folder that every run with the same teacher shares.

    Another process that is training the same teacher is waited for, not repeated.

    Returns:
        The folder, which holds the weights and ``result.json``.

    Raises:
        Interrupted, RunError: as `Fit.run`.
    """
    environment.code()  # now, as the record shall have it
    recipe, data_seed = teacher_recipe(config), _stream(config, "data")
    with full_precision(), RunFolder(teacher_folder(config), wait=True) as folder:
        if finished(folder.path):  # by the process that was waited for
            return folder.path
        images = fingerprint_of(dataset)
        check_resumable(folder, images, config.dataset)
        model = build(config, dataset, device)
        if is_published(config, model, dataset):
            raise ConfigError(
                f"timm's weights of {config.teacher.model} know the classes of dataset={config.dataset.name} already, "
                "and students learn from them as they are: there is nothing to train."
            )
        folder.begin(config.to_dict(), images=images)
        objective = _objective(config, model, dataset, device, folder)
        trainer = training(config, objective, dataset.train_batches(recipe.batch_size, data_seed), device)
        measures = evaluations(model, dataset, config.runtime.eval_batch_size)
        fit = Fit(trainer, folder, config.runtime, measures, lr_option="teacher.recipe.lr")
        torch.manual_seed(_stream(config, "training"))
        if fit.resume():
            print(f"resumed   after {trainer.epoch} epochs and {trainer.step} steps", flush=True)
        history = fit.run()
        with writing(str(folder.path / WEIGHTS)):
            save_weights(model, folder.path / WEIGHTS)
        folder.write_result(
            {
                "task": "train_teacher",
                "student": None,
                "teacher": {
                    "name": config.teacher.model,
                    **history.best_and_last("test"),
                    "parameters": parameters(model),
                    "sha256": file_hash(folder.path / WEIGHTS),
                },
                "method": None,
                "temperature": None,
                "agent": None,
                "identity": {"run": short_hash(teacher_identity(config)), "cell": teacher_cell_hash(config)},
                **common_result(config, dataset, fit, seed=config.teacher.seed),
            }
        )
        fit.checkpoints.remove()
        return folder.path


def training(config: RunConfig, objective: Supervised, loader: TrainLoader, device: torch.device) -> Trainer:
    """What trains a teacher with its own recipe, compiled where the run asks for it."""
    recipe = teacher_recipe(config)
    if config.runtime.compile == "all":
        objective.network.compile(recipe.batch_size)
    return trainer_for(objective, loader, recipe, config.runtime, device)


def _stream(config: RunConfig, what: str) -> int:
    """The seed of a random stream of the teacher's own.

    Else a student of the same seed would start from its teacher's weights and see the same batches, and a nasty teacher
    from those of the normal one that it is to answer unlike.
    """
    objective = config.teacher.objective
    return derive_seed(config.teacher.seed, "teacher" if objective == "labels" else objective, what)


def _objective(
    config: RunConfig, model: nn.Module, dataset: Dataset, device: torch.device, folder: RunFolder
) -> Supervised:
    """What the teacher is trained towards; a nasty one needs a normal one, found or trained like any other."""
    if config.teacher.objective == "labels":
        return Supervised(Network(model), Branches(device if config.runtime.branches else None))
    nasty = config.teacher.nasty
    assert nasty is not None  # checked when the configuration was composed
    normal = replace(config, teacher=replace(config.teacher, objective="labels"))
    if nasty.adversary is None:
        adversary = build(normal, dataset, device)
        origin = equip(normal, adversary, dataset, device, lambda _: folder.phase("its adversary is being trained"))
        keep_to(folder, origin)
        words = origin.words
    else:
        words = nasty.adversary
        given = replace(normal, teacher=replace(normal.teacher, checkpoint=words))
        adversary = build(given, dataset, device)  # with the normalisation that the file states
        load_weights(adversary, words, what="teacher.nasty.adversary")
    print(f"adversary {words}", flush=True)
    return Nasty(model, adversary, nasty, dataset.num_classes)


def warn_if_far(config: RunConfig, dataset: Dataset, measured: Accuracy) -> None:
    """Say so when a teacher is not the one that the literature distils from, or seems to know nothing."""
    name = config.teacher.model
    if config.teacher.source != "zoo" or reported_teacher(name, dataset.name) is None:
        if measured.top1 <= guessing_at_most(dataset.num_classes, dataset.num_test):
            print(
                f"warning   the teacher scores {measured.top1:.2f} % on {dataset.num_test} test images, and guessing "
                f"among {dataset.num_classes} classes scores as much: its classes may be in another order, its images "
                "normalised otherwise, its file the wrong one, or its training too short"
            )
    elif (literature := other_teacher(name, dataset.name, measured.top1)) is not None:
        print(
            f"warning   the teacher scores {measured.top1:.2f} % on {dataset.num_test} test images; the literature "
            f"reports {literature.top1:.2f} % for {name} ({literature.source}): students' accuracies are not comparable"
        )


def guessing_at_most(num_classes: int, num_images: int) -> float:
    """The accuracy in percent that guessing exceeds in about one of a thousand tests.

    Hits by guessing are binomial: their share is 1/C, give or take its standard deviation of sqrt((1/C)(1 - 1/C)/N).
    """
    chance = 1 / num_classes
    return 100 * (chance + DEVIATIONS * math.sqrt(chance * (1 - chance) / num_images))
