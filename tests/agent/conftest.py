"""An agent from the presets, and an invented student for it to teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from rlkd_run.agent import Agent
from rlkd_run.config.agent import AgentOptions
from rlkd_run.protocol import Feedback, Observation

PRESETS = Path(__file__).parents[2] / "conf" / "agent"
CLASSES = 10


def make_options(preset: str = "paper", **changes: Any) -> AgentOptions:
    """A preset as `conf/agent/` has it, with changes; trained in every epoch unless they say otherwise."""
    layers = [OmegaConf.load(PRESETS / "paper.yaml")]
    if preset != "paper":
        layers.append(OmegaConf.load(PRESETS / f"{preset}.yaml"))
        layers[-1].pop("defaults")
    schedule = {"warmup_epochs": 1, "train_every": 1}  # in the presets they follow the number of epochs
    options = OmegaConf.merge(OmegaConf.structured(AgentOptions), *layers, schedule, changes)
    return OmegaConf.to_object(options)


def make_agent(options: AgentOptions, **changes: Any) -> Agent:
    arguments = {
        "num_images": 1000,
        "num_classes": CLASSES,
        "batch_size": 64,
        "steps_per_epoch": 40,
        "epochs": 240,
        "seed": 0,
        "device": torch.device("cpu"),
    }
    return Agent(options, **(arguments | changes))


def observe(agent: Agent, step: int, size: int = 64, seed: int = 0, **changes: Any) -> Observation:
    """Invented logits for a step: a function of seed, epoch and step."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + 1009 * agent.epoch + step)
    fields = {
        "teacher_logits": 4 * torch.randn(size, CLASSES, generator=generator),
        "student_logits": 2 * torch.randn(size, CLASSES, generator=generator),
        "target": torch.randint(CLASSES, (size,), generator=generator),
        "index": torch.randperm(1000, generator=generator)[:size],
        "mixed": None,
        "epoch": agent.epoch,
        "step": step,
    }
    return Observation(**(fields | changes))


def feedback_of(value: Callable[[], Tensor]) -> Feedback:
    return Feedback(logits_again=value, probe_loss=value)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
