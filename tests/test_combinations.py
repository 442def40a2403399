"""Every base method with every temperature policy, as the training loop puts them together."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from typing import Any

import pytest
import torch
from composed import composed
from method_support import CLASSES, EPOCH, IMAGES, STUDENTS, Setting, networks, options_of, setting
from states import same, stored
from torch import nn
from waiting import NoWaiting

from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.config.validate import contradictions
from rlkd_run.data.dataset import Loading
from rlkd_run.data.resident import RawImages, ResidentDataset
from rlkd_run.models.features import Network
from rlkd_run.objectives import Distillation
from rlkd_run.protocol import Batch
from rlkd_run.schedule import Schedule
from rlkd_run.temperature.base import PolicySetting
from rlkd_run.training import Trainer

BATCH = 16


# Widths that are made for larger networks, and would take most of the time here.
NARROW = {"reviewkd": {"max_width": 16}, "diffkd": {"autoencoder_width": 16}, "crd": {"negatives": 64}}


@functools.cache
def configs() -> dict[str, RunConfig]:
    """A configuration with each policy; the agent acts from the first epoch on and learns in `EPOCH`."""
    agent = ["agent.warmup_epochs=1", f"agent.train_every={EPOCH}", "agent.rollout_steps=2"]
    return {name: composed(f"temperature={name}", f"recipe.batch_size={BATCH}", *agent) for name in TEMPERATURES}


def meaningful(method: str) -> list[RunConfig]:
    """The configurations of a method with every policy that the command does not refuse."""
    options = dataclasses.replace(options_of(method), **NARROW.get(method, {}))
    whole = [dataclasses.replace(config, method=options) for config in configs().values()]
    return [config for config in whole if not contradictions(config)]


@functools.cache
def pair(student: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    ours, theirs = networks(student, dtype)
    return copy.deepcopy(ours), copy.deepcopy(theirs)


def distillation(
    config: RunConfig, both: tuple[nn.Module, nn.Module], student: str, dtype: torch.dtype
) -> Distillation:
    ours, theirs = both
    where: Setting = setting(student, dtype)._replace(student=ours, teacher=theirs)
    torch.manual_seed(1)
    name = config.method.name
    method = METHODS[name].load()(config.method, where).to(dtype)
    steps = IMAGES // BATCH
    policy = TEMPERATURES[config.temperature.name].load()(
        config.temperature, PolicySetting(config, CLASSES, IMAGES, steps, torch.device("cpu"))
    )
    return Distillation(
        Network(ours, method.needs), Network(theirs, method.needs), method, policy, lambda: torch.ones(())
    )


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_every_combination(name: str, student: str) -> None:
    # A short batch in one precision and a full one in the other: which in which changes with the combination.
    sizes = itertools.cycle([(2, torch.float32), (BATCH, torch.float64), (2, torch.float64), (BATCH, torch.float32)])
    for config in (one for one in meaningful(name) for _ in range(2)):
        size, dtype = next(sizes)
        what = f"{config.temperature.name}, B = {size}, {dtype}"
        both = pair(student, dtype)
        both[0].zero_grad()
        objective = distillation(config, both, student, dtype)
        _, side = STUDENTS[student]
        generator = torch.Generator().manual_seed(size)
        images = torch.randn(size, 3, side, side, dtype=dtype, generator=generator)
        target = torch.randint(CLASSES, (size,), generator=generator)
        batch = Batch(images, target, torch.arange(size))
        objective.begin_epoch(EPOCH)
        with NoWaiting():
            losses = objective.losses(batch, EPOCH, 0)
            torch.stack(list(losses.parts.values())).sum().backward()  # type: ignore[no-untyped-call]
            objective.after_update(batch)
        assert all(torch.isfinite(part) and part.shape == () for part in losses.parts.values()), what
        assert losses.temperature is not None, what
        assert torch.isfinite(losses.temperature).all(), what
        assert losses.temperature.min() > 0, what
        network, *others = objective.parameter_groups()
        assert network["params"][0].grad.abs().max() > 0, what
        for parameter in itertools.chain(*(group["params"] for group in others)):
            assert parameter.grad is not None, what
            assert torch.isfinite(parameter.grad).all(), what
        assert all(one.grad is None for one in objective.teacher.model.parameters()), what
        objective.student.close()
        objective.teacher.close()


@functools.cache
def data() -> ResidentDataset:
    """Two batches of noise."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (IMAGES, 8, 8, 3), generator=generator, dtype=torch.uint8)
    labels = torch.arange(IMAGES) % CLASSES
    raw = RawImages(pixels, labels, pixels[:CLASSES], labels[:CLASSES], [str(name) for name in range(CLASSES)])
    options = dataclasses.replace(configs()["fixed"].dataset, train_limit=None, test_limit=None)
    return ResidentDataset(options, raw, Loading(torch.device("cpu")))


def trainer(config: RunConfig) -> Trainer:
    """About to begin the epoch in which the agent learns."""
    objective = distillation(config, copy.deepcopy(pair("resnet8", torch.float32)), "resnet8", torch.float32)
    training = Trainer(objective, data().train_batches(BATCH, 0), Schedule.of(config.recipe), torch.device("cpu"))
    training.epoch = EPOCH - 1
    return training


def run_epoch(training: Trainer) -> dict[str, Any]:
    """Two steps; what a checkpoint after the first of them gives back."""
    kept: list[dict[str, Any]] = []

    def keep() -> None:
        if not kept:
            kept.append(stored(training.state_dict()))

    training.run_epoch(keep)
    return kept[0]


@pytest.mark.parametrize("name", METHODS)
def test_an_epoch_of_every_combination_resumed_in_its_middle(name: str) -> None:
    for config in meaningful(name):
        what = config.temperature.name
        undisturbed, resumed = trainer(config), trainer(config)
        kept = run_epoch(undisturbed)
        for parameter in resumed.objective.model.parameters():
            nn.init.zeros_(parameter)
        torch.manual_seed(99)
        resumed.load_state_dict(kept)
        assert same(resumed.state_dict(), kept), what
        resumed.run_epoch(lambda: None)
        assert resumed.epoch == EPOCH
        assert same(resumed.state_dict(), undisturbed.state_dict()), what
        assert not same(undisturbed.state_dict()["objective"]["model"], kept["objective"]["model"]), what


def test_what_is_refused() -> None:
    refused = {
        (method, policy)
        for method in METHODS
        for policy in TEMPERATURES
        if policy not in {config.temperature.name for config in meaningful(method)}
    }
    without = {name for name, entry in METHODS.items() if not entry.uses_temperature}
    assert without == {"ttm", "wttm", "annealing"}
    expected = {(method, policy) for method in without for policy in TEMPERATURES if policy != "fixed"}
    assert refused == expected | {("lskd", "lskd_std")}
