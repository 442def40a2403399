"""Random temperatures and schedules: law, range, warm-up, and that they depend on seed and epoch alone."""

from __future__ import annotations

import math

import pytest
import torch
from composed import composed
from torch import Tensor

from rlkd_run.config.composition import compose_command
from rlkd_run.config.registry import TEMPERATURES
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Observation
from rlkd_run.temperature.base import Policy, PolicySetting

STEPS, BATCH = 50, 64


def policy(*overrides: str) -> Policy:
    config = composed(f"recipe.batch_size={BATCH}", *overrides)
    built = TEMPERATURES[config.temperature.name].load()(
        config.temperature, PolicySetting(config, 10, BATCH * STEPS, STEPS, torch.device("cpu"))
    )
    assert isinstance(built, Policy)
    return built


def temperatures(policy: Policy, step: int = 0, size: int = BATCH) -> Tensor:
    logits = torch.zeros(size, 10)
    index = torch.arange(size)
    teacher, student = policy.temperatures(Observation(logits, logits, index % 10, index, None, 1, step))
    assert teacher is student
    return student


def epoch_of(policy: Policy, epoch: int) -> Tensor:
    policy.begin_epoch(epoch)
    return torch.stack([temperatures(policy, step) for step in range(STEPS)])


def test_random_follows_the_law_of_the_untrained_agent() -> None:
    drawn = epoch_of(policy("temperature=random"), 20)
    assert ((drawn > 1) & (drawn < 10)).all()
    z = ((drawn - 1) / 9).logit()
    assert z.mean().item() == pytest.approx(0, abs=0.04)
    assert z.std().item() == pytest.approx(math.exp(-0.5), abs=0.03)


def test_random_takes_range_and_spread_from_the_agent() -> None:
    narrow = policy("temperature=random", "agent.t_min=2", "agent.t_max=4", "agent.log_std_start=-3")
    drawn = epoch_of(narrow, 30)
    assert ((drawn > 2.5) & (drawn < 3.5)).all()
    flat = epoch_of(policy("temperature=random", "temperature.law=uniform"), 20)
    assert flat.min().item() == pytest.approx(1, abs=0.05)
    assert flat.max().item() == pytest.approx(10, abs=0.05)
    assert flat.mean().item() == pytest.approx(5.5, abs=0.2)
    assert flat.std().item() == pytest.approx(9 / math.sqrt(12), abs=0.1)


def test_random_warms_up_as_the_agent_does() -> None:
    control = policy("temperature=random", "agent.warmup_temperature=3")
    assert (epoch_of(control, 19) == 3).all()
    assert not (epoch_of(control, 20) == 3).any()
    assert temperatures(control, STEPS - 1, size=5).shape == (5,)


@pytest.mark.parametrize("law", ["policy_init", "uniform"])
def test_random_draws_depend_on_seed_and_epoch_alone(law: str) -> None:
    options = ["temperature=random", f"temperature.law={law}"]
    first, second = policy(*options), policy(*options)
    epoch_of(first, 20)
    torch.manual_seed(3)
    assert torch.equal(epoch_of(first, 21), epoch_of(second, 21))
    assert not torch.equal(epoch_of(first, 21), epoch_of(first, 22))
    assert not torch.equal(epoch_of(first, 21), epoch_of(policy(*options, "seed=1"), 21))


def test_linear() -> None:
    line = policy("temperature=linear", "temperature.start=9", "temperature.end=1", "temperature.epochs=5")
    seen = []
    for epoch in range(1, 8):
        line.begin_epoch(epoch)
        seen.append(temperatures(line).item())
    assert seen == [9, 7, 5, 3, 1, 1, 1]


def test_cosine() -> None:
    wave = policy("temperature=cosine", "temperature.start=1", "temperature.end=9", "temperature.epochs=5")
    seen = []
    for epoch in range(1, 8):
        wave.begin_epoch(epoch)
        seen.append(temperatures(wave).item())
    root = math.sqrt(0.5)
    assert seen == pytest.approx([1, 5 - 4 * root, 5, 5 + 4 * root, 9, 9, 9])


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_schedules_span_the_run_unless_told_otherwise(shape: str) -> None:
    whole = policy(f"temperature={shape}", "recipe.epochs=7")
    whole.begin_epoch(1)
    assert temperatures(whole).item() == 8
    whole.begin_epoch(6)
    assert temperatures(whole).item() > 1
    whole.begin_epoch(7)
    assert temperatures(whole).item() == 1
    at_once = policy(f"temperature={shape}", "temperature.epochs=1")
    assert temperatures(at_once).item() == 1


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["method=ttm"], "method=ttm has no temperature that temperature=rlkd could set; use temperature=fixed."),
        (["method=wttm", "temperature=ctkd"], "method=wttm has no temperature that temperature=ctkd could set; "),
        (["method.kl_weight=0"], "method=kd with method.kl_weight=0 has no temperature that temperature=rlkd could "),
        (
            ["method=dkd", "method.alpha=0", "method.beta=0"],
            "method=dkd with method.alpha=0 and method.beta=0 has no temperature that temperature=rlkd could ",
        ),
        (["method=dtkd", "method.alpha=0"], "method=dtkd with method.alpha=0 has no temperature that temperature=rlkd"),
        (
            ["method=dist", "method.inter_weight=0", "method.intra_weight=0", "temperature=ctkd"],
            "method=dist with method.inter_weight=0 and method.intra_weight=0 has no temperature ",
        ),
        (["method=crd", "method.nce_temperature=0.01"], "method.nce_temperature must be at least 0.015, not 0.01"),
        (["method=lskd", "temperature=lskd_std"], "temperature=lskd_std divides by a deviation, and "),
        (
            ["temperature=random", "temperature.law=uniform", "agent.t_min=0"],
            "temperature.law=uniform draws down to agent.t_min, which must be greater than 0.",
        ),
        (["temperature=ctkd", "temperature.loops=0"], "temperature.loops must be at least 1, not 0."),
    ],
)
def test_a_pair_without_meaning_is_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_command(overrides)
    (problem,) = caught.value.problems
    assert problem.startswith(sentence)


def test_a_fixed_temperature_goes_with_everything() -> None:
    for method in ("ttm", "wttm", "kd", "dkd"):
        compose_command([f"method={method}", "temperature=fixed"])
    compose_command(["method.kl_weight=0", "temperature=fixed"])
    compose_command(["method=dkd", "method.alpha=0", "temperature=rlkd"])
    compose_command(["method=dist", "method.inter_weight=0", "temperature=rlkd"])
    compose_command(["task=train_teacher", "method=ttm"])
