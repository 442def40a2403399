"""A method and a policy of one's own in the training loop: what is kept of them, and what is said of their mistakes."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import composed
from states import same, stored
from torch import Tensor, nn
from trainings import nothing, run_until, small

from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.errors import ConfigError, RunError
from rlkd_run.fit import Fit
from rlkd_run.methods.base import Method, cross_entropy
from rlkd_run.protocol import Observation, Situation, Temperatures
from rlkd_run.record import RunFolder
from rlkd_run.temperature.base import Policy
from rlkd_run.training import Trainer


class Own(Policy):
    """One learnt temperature, and no word of it in a state of its own."""

    def __init__(self, options: Any, setting: Any) -> None:
        self.raw = nn.Parameter(torch.tensor(4.0))

    def temperatures(self, observation: Observation) -> Temperatures:
        return Temperatures.equal(self.raw.abs() + 1)

    def trainables(self) -> list[nn.Parameter]:
        return [self.raw]


class Counting(Own):
    """It also counts, and what it says of itself is that alone."""

    steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}


@pytest.fixture
def trainer_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    """A trainer with classes of one's own where the name of a built-in one is asked for."""

    def build(**kinds: Any) -> Trainer:
        for group, name, registry in (("policy", "linear", TEMPERATURES), ("method", "kd", METHODS)):
            if group in kinds:
                own = dataclasses.replace(registry[name], target=f"{__name__}:{kinds[group].__name__}")
                monkeypatch.setitem(registry._entries, name, own)
                monkeypatch.setitem(globals(), kinds[group].__name__, kinds[group])
        return small("temperature=linear")

    return build


@pytest.mark.parametrize("kind", [Own, Counting])
def test_what_a_policy_trains_is_in_every_checkpoint(kind: type[Own], trainer_of: Callable[..., Trainer]) -> None:
    undisturbed = trainer_of(policy=kind)
    run_until(undisturbed, 2, 0)
    first = trainer_of(policy=kind)
    run_until(first, 1, 3)
    second = trainer_of(policy=kind)
    second.load_state_dict(stored(first.state_dict()))
    run_until(second, 1, 0)
    assert same(undisturbed.state_dict(), second.state_dict())


def policy_that_gives(value: Any) -> type[Policy]:
    """`value` may be a function of the observation."""

    class Gives(Policy):
        def __init__(self, options: Any, setting: Any) -> None:
            pass

        def temperatures(self, observation: Observation) -> Temperatures:
            given: Temperatures = value(observation) if callable(value) else value
            return given

    return Gives


def method_that_gives(value: Callable[..., Any]) -> type[Method]:
    """`value` is a function of what `forward` is given."""

    class Gives(Method):
        def __init__(self, options: Any, setting: Any) -> None:
            super().__init__()

        def forward(self, *arguments: Any) -> Any:
            return value(*arguments)

    return Gives


ONE = torch.ones(())


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"policy": policy_that_gives(ONE)}, "returned a tensor of shape []"),
        ({"policy": policy_that_gives(4.0)}, "returned a value of type float"),
        ({"policy": policy_that_gives((ONE, ONE))}, "returned a value of type tuple"),
        ({"policy": policy_that_gives(Temperatures.equal(torch.ones(16, 1)))}, "with a tensor of shape [16, 1]"),
        ({"policy": policy_that_gives(Temperatures(4.0, ONE))}, "with a value of type float"),  # type: ignore[arg-type]
        ({"method": method_that_gives(lambda u, *_: u.logits.mean())}, "returned a tensor of shape []"),
        ({"method": method_that_gives(lambda u, *_: {"kl": u.logits.mean(1)})}, "a tensor of shape [16] as 'kl'"),
        ({"method": method_that_gives(lambda *_: {"kl": 0.0})}, "a value of type float as 'kl'"),
        ({"method": method_that_gives(lambda *_: {})}, "returned an empty dict"),
        (
            {"method": method_that_gives(lambda u, *_: {"ce": u.logits.detach().mean(), "kl": ONE})},
            "none of these depends on the student: ce, kl;",
        ),
    ],
)
def test_a_breach_of_the_contract_is_one_sentence(
    kinds: dict[str, Any], words: str, trainer_of: Callable[..., Trainer]
) -> None:
    trainer = trainer_of(**kinds)
    part = "temperatures must return Temperatures" if "policy" in kinds else "forward must return a dict"
    with pytest.raises(ConfigError, match=re.escape(words)) as raised:
        trainer.run_epoch(nothing)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{__name__}.")
    assert f"Gives.{part}" in problem


class WithoutSetting(Policy):
    def __init__(self, options: Any) -> None:
        pass


class NoMethod(nn.Module):
    pass


class NotSetUp(Method):
    def __init__(self, options: Any, setting: Any) -> None:
        self.weight = 0.1


class NotSetUpYet(Method):
    def __init__(self, options: Any, setting: Any) -> None:
        self.layer = nn.Linear(1, 1)
        super().__init__()


class WithoutEpoch(Method):
    def forward(self, student: Any, teacher: Any, batch: Any, temperatures: Any) -> dict[str, Tensor]:  # type: ignore
        return {"ce": cross_entropy(student.logits, batch)}


class WithoutFeedback(Own):
    def observe(self) -> None:  # type: ignore
        """Called after the update."""


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        (
            {"method": WithoutEpoch},
            "WithoutEpoch.forward must take (self, student, teacher, batch, temperatures, epoch): too many positional",
        ),
        ({"policy": WithoutFeedback}, "WithoutFeedback.observe must take (self, feedback): too many positional"),
        ({"policy": WithoutSetting}, "WithoutSetting.__init__ must take (self, options, setting): too many positional"),
        ({"method": NoMethod}, "NoMethod must be a subclass of rlkd_run.methods.base.Method."),
        ({"method": NotSetUp}, "NotSetUp.__init__ must call super().__init__() before anything else."),
        ({"method": NotSetUpYet}, "NotSetUpYet.__init__ must call super().__init__() before anything else."),
    ],
)
def test_a_class_that_cannot_be_built_is_one_sentence(
    kinds: dict[str, Any], sentence: str, trainer_of: Callable[..., Trainer]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{__name__}.{sentence}")):
        trainer_of(**kinds)


def with_labels(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(self: Any, student: Any, teacher: Any, batch: Any, temperatures: Any, epoch: int) -> Any:
        return function(self, student, batch)

    return called


class Decorated(Method):
    def __init__(self, options: Any, setting: Any) -> None:
        super().__init__()

    @with_labels
    def forward(self, student: Any, batch: Any) -> dict[str, Tensor]:
        return {"ce": cross_entropy(student.logits, batch)}


class Static(Policy):
    def __init__(self, options: Any, setting: Any) -> None:
        pass

    @staticmethod
    def temperatures(observation: Observation) -> Temperatures:  # type: ignore[override]
        return Temperatures.equal(ONE)


def test_what_can_be_called_as_its_base_is_taken(trainer_of: Callable[..., Trainer]) -> None:
    run_until(trainer_of(method=Decorated, policy=Static), 0, 1)


@pytest.mark.parametrize(
    ("temperatures", "sentence"),
    [
        (
            lambda seen: torch.full((len(seen.target),), -1.0 if seen.step >= 2 else 1.0),
            "since step 3 of epoch 1, e.g. -1.",
        ),
        (lambda seen: torch.zeros(()), "since step 1 of epoch 1, e.g. 0."),
        (lambda seen: torch.full((len(seen.target),), torch.nan), "since step 1 of epoch 1, e.g. nan."),
        (lambda seen: torch.full((), torch.nan), "step 1 of epoch 1, nor is the temperature that {} gives; a smaller"),
    ],
    ids=["negative", "zero", "nan of each", "nan of all"],
)
def test_temperatures_that_are_none_end_the_run_and_name_the_policy(
    temperatures: Callable[[Observation], Tensor], sentence: str, trainer_of: Callable[..., Trainer]
) -> None:
    trainer = trainer_of(policy=policy_that_gives(lambda seen: Temperatures.equal(temperatures(seen))))
    with RunFolder(Path("run")) as folder:
        fit = Fit(trainer, folder, composed("runtime.tensorboard=false").runtime, {})
        with pytest.raises(RunError) as raised:
            fit.run()
    name = trainer.objective.sets_temperatures
    assert name is not None
    assert name in str(raised.value)
    assert sentence.format(name) in str(raised.value)
    assert not list(Path("run").glob("checkpoints/*"))


def labels_alone(student: Any, teacher: Any, batch: Any, *others: Any) -> dict[str, Tensor]:
    return {"ce": cross_entropy(student.logits, batch)}


def unpacking(student: Any, teacher: Any, batch: Any, temperatures: Any, epoch: int) -> dict[str, Tensor]:
    one, _ = temperatures
    return {"ce": cross_entropy(student.logits / one, batch)}


def by_name(student: Any, teacher: Any, batch: Any, temperatures: Any, epoch: int) -> dict[str, Tensor]:
    return {"ce": cross_entropy(student.logits / temperatures.student, batch)}


@pytest.mark.parametrize(("forward", "is_told"), [(labels_alone, True), (unpacking, False), (by_name, False)])
def test_a_method_that_reads_no_temperature_is_told_of_its_flag_once(
    forward: Callable[..., Any], is_told: bool, trainer_of: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    trainer_of(method=method_that_gives(forward)).run_epoch(nothing)
    notes = [line for line in capsys.readouterr().out.splitlines() if "uses_temperature=False" in line]
    assert len(notes) == is_told
    assert all(line.startswith(f"note      {__name__}.method_that_gives.<locals>.Gives reads no") for line in notes)


class Remembering(Own):
    """Reads numbers that a GPU would repeat with the step."""

    name = "epoch"

    def temperatures(self, observation: Observation) -> Temperatures:
        return Temperatures.equal(self.raw + getattr(observation, self.name))


@pytest.mark.parametrize("name", ["epoch", "step"])
def test_who_says_that_steps_may_be_repeated_reads_no_number_that_would_be(
    name: str, trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remembering, "name", name)
    trainer_of(policy=Remembering).run_epoch(nothing)
    monkeypatch.setattr(Remembering, "situation", Situation(), raising=False)
    with pytest.raises(ConfigError, match=f"that has a situation must not read observation.{name}, which stays"):
        trainer_of(policy=Remembering).run_epoch(nothing)
