#!/usr/bin/env python3
"""Where an agent ends whose rewards know nothing of its actions: the control for every temperature that one "found".

    python scripts/agent_drift.py [SEEDS] [EPOCHS] [OVERRIDE ...]

An agent as a run of EPOCHS epochs on CIFAR-100 would make it sees an invented student, whose logits have nothing to do
with the temperatures: two in five instances are right, so that the accuracy of a batch, and with it the reward, is the
luck of drawing 64. A line an epoch, over the seeds: the mean temperature, the share of instances whose mean is at its
bound (`agent_saturated`), and how many agents have most of them there, at the low and at the high end. Overrides are
the command's, e.g. agent.ppo.passes=1.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import torch
from bench_parts.cases import one_run
from bench_parts.typed import at_least
from torch.nn.functional import one_hot
from tqdm import tqdm

from rlkd_run.agent import Agent
from rlkd_run.agent.actor_critic import squash
from rlkd_run.cli import exit_code
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.device import prepare
from rlkd_run.protocol import Observation

IMAGES, CLASSES = 50_000, 100
RIGHT = 0.4


def epochs_of(config: RunConfig) -> list[tuple[float, float]]:
    """Mean temperature and share of saturated means of each epoch of an agent."""
    batch, epochs = config.recipe.batch_size, config.recipe.epochs
    steps = IMAGES // batch
    agent = Agent(
        config.agent,
        num_images=IMAGES,
        num_classes=CLASSES,
        batch_size=batch,
        steps_per_epoch=steps,
        epochs=epochs,
        seed=config.seed,
        device=torch.device("cpu"),
    )
    generator = torch.Generator().manual_seed(config.seed)
    reached = []
    for epoch in range(1, epochs + 1):
        agent.begin_epoch(epoch)
        total = 0.0
        for step, index in enumerate(torch.randperm(IMAGES, generator=generator)[: steps * batch].split(batch)):
            target = torch.randint(CLASSES, (batch,), generator=generator)
            right = torch.rand(batch, generator=generator) < RIGHT
            believed = torch.where(right, target, (target + 1) % CLASSES)
            certainty = 6 * torch.rand(2, batch, 1, generator=generator)  # as large as a young student's, and less
            teacher, student = torch.randn(2, batch, CLASSES, generator=generator)
            seen = Observation(
                teacher + 2 * certainty[0] * one_hot(target, CLASSES),
                student.clamp(max=2.5) + (2.6 + certainty[1]) * one_hot(believed, CLASSES),
                target,
                index,
                None,
                epoch,
                step,
            )
            total += agent.temperatures(seen).mean().item()
        agent.end_epoch()
        reached.append((total / steps, agent.metrics().get("saturated", torch.zeros(())).item()))
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "seeds", metavar="SEEDS", nargs="?", type=at_least(1), default=10, help="an agent each; 10 by default"
    )
    parser.add_argument(
        "epochs", metavar="EPOCHS", nargs="?", type=at_least(1), default=8, help="of the run; 8 by default"
    )
    parser.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="of the command, e.g. agent.ppo.passes=1")
    given = parser.parse_args()
    seeds, epochs, overrides = given.seeds, given.epochs, given.overrides
    typed = ["pair=resnet56-resnet20", f"recipe.epochs={epochs}", *overrides]
    configs = [one_run([*typed, f"seed={seed}"]) for seed in range(seeds)]
    prepare(configs[0].runtime)
    runs = [epochs_of(config) for config in tqdm(configs, unit="agent", disable=None)]
    agent = configs[0].agent
    low, middle, high = squash(agent.mean_bound * torch.tensor([-1.0, 0.0, 1.0]), agent.t_min, agent.t_max)
    print(f"{seeds} agents, means of T within {low:.2f} and {high:.2f} {' '.join(overrides)}")
    print("epoch  T, mean of all  least   most  saturated  low end  high end")
    for epoch, reached in enumerate(zip(*runs, strict=True), 1):
        means, shares = zip(*reached, strict=True)
        ended = [mean for mean, share in reached if share > 0.5]
        print(
            f"{epoch:>5}  {statistics.mean(means):14.2f}  {min(means):5.2f}  {max(means):5.2f}  "
            f"{100 * statistics.mean(shares):7.0f} %  {sum(mean < middle for mean in ended):7}  "
            f"{sum(mean > middle for mean in ended):8}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
