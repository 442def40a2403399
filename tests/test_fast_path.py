"""What is done for speed changes no result: equal seeds give equal curves with all of it and with none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from composed import composed
from safetensors.torch import load_file
from support import TINY, Ended, save_untrained_teacher
from torch._dynamo.utils import counters

from rlkd_run import teachers
from rlkd_run.experiment import build, open_data
from rlkd_run.objectives import StepLosses
from rlkd_run.protocol import Batch
from rlkd_run.schedule import Schedule
from rlkd_run.seeding import derive_seed
from rlkd_run.teacher_cache import teacher_for
from rlkd_run.training import Trainer

CPU = torch.device("cpu")
STEPS = 50
# At the full learning rate training itself blows roundings up, whatever they come from.
SMALL = ["dataset=digits", "dataset.train_limit=200", "teacher=resnet14", "student=resnet8", "recipe.epochs=4",
         "recipe.batch_size=16", "recipe.lr=0.002", "method.negatives=64", "agent.warmup_epochs=2",
         "agent.train_every=2", "agent.rollout_steps=4"]  # fmt: skip
PLAIN = ["runtime.channels_last=false", "runtime.fold_teacher=false"]


def curve(*overrides: str) -> torch.Tensor:
    """Loss of each of the first steps, [STEPS]."""
    config = composed(*overrides)
    dataset = open_data(config, CPU)
    teacher = teachers.build(config, dataset, CPU)
    objective = build(config, dataset, teacher, CPU)
    loader = dataset.train_batches(config.recipe.batch_size, derive_seed(config.seed, "data"))
    objective.answers = teacher_for(config, objective.teacher, loader, dataset)
    torch.manual_seed(derive_seed(config.seed, "training"))
    trainer = Trainer(objective, loader, Schedule.of(config.recipe), CPU)
    found: list[torch.Tensor] = []
    original = objective.losses

    def losses(batch: Batch, epoch: int, step: int, position: torch.Tensor | None = None) -> StepLosses:
        whole = original(batch, epoch, step)
        found.append(torch.stack(list(whole.parts.values())).sum().detach())
        return whole

    objective.losses = losses  # type: ignore[method-assign]
    while len(found) < STEPS:
        trainer.run_epoch(lambda: None)
    objective.answers.close()
    return torch.stack(found[:STEPS])


@pytest.mark.parametrize("temperature", ["fixed", "ctkd", "rlkd"])
@pytest.mark.parametrize("method", ["kd", "dkd", "crd"])
def test_loss_curves_are_those_of_the_plain_path(method: str, temperature: str) -> None:
    options = [one for one in SMALL if method == "crd" or not one.startswith("method.")]
    options = [one for one in options if temperature == "rlkd" or not one.startswith("agent.")]
    overrides = [*options, f"method={method}", f"temperature={temperature}"]
    fast = curve(*overrides)
    plain = curve(*overrides, *PLAIN)
    assert len(fast) == STEPS
    torch.testing.assert_close(fast, plain, rtol=2e-3, atol=1e-4)


def test_no_kind_of_epoch_compiles_anything_anew(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warm-up, learning on mixed images, acting; full batches and the short last one: one graph for each network."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    counters.clear()
    save_untrained_teacher()
    epochs = ["recipe.epochs=5", "agent.warmup_epochs=2", "agent.train_every=2", "runtime.eval_batch_size=50"]
    ended = rlkd_run(*TINY, "teacher.checkpoint=teacher.safetensors", "runtime.compile=all", *epochs)
    assert ended.code == 0, ended.err
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["recompiles"]


@pytest.mark.parametrize("objective", ["labels", "nasty"])
def test_a_teacher_is_compiled_in_training(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    save_untrained_teacher()
    options = [f"teacher.objective={objective}", "teacher.nasty.adversary=teacher.safetensors"]
    plain, compiled = [], []
    for mode, weights in (("none", plain), ("all", compiled)):
        torch.compiler.reset()
        counters.clear()
        chosen = options if objective == "nasty" else options[:1]
        ended = rlkd_run(*TINY, "task=train_teacher", *chosen, f"runtime.compile={mode}", f"output_root={mode}")
        assert ended.code == 0, ended.err
        assert counters["stats"]["unique_graphs"] == (mode == "all")
        weights += load_file(next(Path(mode).rglob("teacher.safetensors"))).values()
    torch.testing.assert_close(compiled, plain)
