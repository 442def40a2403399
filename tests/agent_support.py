"""An agent from the presets, an invented student for it to teach, and how its states are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from rlkd_run.agent import Agent
from rlkd_run.agent.ppo import Experience
from rlkd_run.config.agent import AgentOptions
from rlkd_run.config.composition import register_resolvers
from rlkd_run.protocol import Feedback, Observation

PRESETS = Path(__file__).parents[1] / "conf" / "agent"
CLASSES = 10
IMAGES = 1000


def make_options(preset: str = "paper", **changes: Any) -> AgentOptions:
    """A preset as `conf/agent/` has it, with changes; narrow, and trained in every epoch, unless they say otherwise."""
    register_resolvers()
    whole = OmegaConf.create({"dataset": {"name": "cifar100"}, "agent": OmegaConf.load(PRESETS / "paper.yaml")})
    whole.agent.exploration.epochs = whole.agent.exploration.epochs  # in the preset it follows the data set
    layers: list[Any] = [whole.agent]
    if preset != "paper":
        layers.append(OmegaConf.load(PRESETS / f"{preset}.yaml"))
        layers[-1].pop("defaults")
    schedule = {"warmup_epochs": 1, "train_every": 1}  # in the presets they follow the number of epochs
    options = OmegaConf.merge(OmegaConf.structured(AgentOptions), *layers, schedule, {"hidden": 64}, changes)
    made = OmegaConf.to_object(options)
    assert isinstance(made, AgentOptions)
    return made


def make_agent(options: AgentOptions | None = None, **changes: Any) -> Agent:
    arguments: dict[str, Any] = {
        "num_images": IMAGES,
        "num_classes": CLASSES,
        "batch_size": 64,
        "steps_per_epoch": 40,
        "epochs": 240,
        "seed": 0,
        "device": torch.device("cpu"),
    }
    return Agent(options or make_options(), **(arguments | changes))


def observation(agent: Agent, step: int, size: int = 64, **changes: Any) -> Observation:
    """Invented logits for a step: a function of epoch and step."""
    generator = torch.Generator().manual_seed(1009 * agent.epoch + step)
    fields: dict[str, Any] = {
        "teacher_logits": 4 * torch.randn(size, CLASSES, generator=generator),
        "student_logits": 2 * torch.randn(size, CLASSES, generator=generator),
        "target": torch.randint(CLASSES, (size,), generator=generator),
        "index": torch.randperm(IMAGES, generator=generator)[:size],
        "mix": None,
        "_epoch": agent.epoch,
        "_step": step,
    }
    return Observation(**(fields | changes))


def with_accuracy(agent: Agent, step: int, right: int, size: int = 64) -> Observation:
    """An invented batch of which the student has the first `right` instances right, all the others wrong."""
    seen = observation(agent, step, size)
    believed = torch.where(torch.arange(size) < right, seen.target, (seen.target + 1) % CLASSES)
    logits = seen.student_logits + 50 * torch.nn.functional.one_hot(believed, CLASSES)
    return observation(agent, step, size, student_logits=logits)


def feedback_of(value: Callable[[], Tensor]) -> Feedback:
    return Feedback(logits_again=value, probe_loss=value)


def after(agent: Agent, seen: Observation) -> Feedback:
    """What the invented student became: a function of the batch."""
    return Feedback(lambda: seen.student_logits * 1.1, lambda: seen.student_logits[0, 0].exp())


def run_epoch(agent: Agent, epoch: int, steps: int, size: int = 64, last_size: int | None = None) -> list[Tensor]:
    """A whole epoch; the temperatures of each of its steps."""
    agent.begin_epoch(epoch)
    chosen = run_steps(agent, range(steps), size, last_size)
    agent.end_epoch()
    return chosen


def run_steps(agent: Agent, steps: range, size: int = 64, last_size: int | None = None) -> list[Tensor]:
    """Some steps of an epoch that was begun; the last may be a short batch."""
    chosen = []
    for step in steps:
        seen = observation(agent, step, last_size if last_size and step == steps[-1] else size)
        chosen.append(agent.temperatures(seen))
        agent.observe(after(agent, seen))
    return chosen


def watch_updates(agent: Agent) -> list[Experience]:
    """What the agent's updates learn from, copied as they come."""
    seen: list[Experience] = []
    original = agent.ppo.update

    def update(experience: Experience) -> dict[str, Tensor]:
        seen.append(Experience(*(tensor.clone() for tensor in experience)))
        return original(experience)

    agent.ppo.update = update  # type: ignore[method-assign]
    return seen
