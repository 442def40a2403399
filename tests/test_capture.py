"""Captured steps end in the same bits as steps done one by one, and every kind of step is captured once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from composed import composed
from states import same, stored
from tape import Tape
from trainings import CPU, training

from rlkd_run import capture
from rlkd_run.capture import CapturedSteps, CudaGraphs, recorder_for
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.protocol import MixPlan, Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy
from rlkd_run.training import Trainer

EPOCHS, FULL = 4, 5  # full batches an epoch; a short one follows
WITHOUT_AGENT = 3  # epochs, enough for what changes from one to the next
# The agent learns in the second and the fourth epoch, in the second of them from mixed images.
SMALL = ["dataset=digits", f"dataset.train_limit={16 * FULL + 8}", "teacher=resnet8", "student=resnet8",
         f"recipe.epochs={EPOCHS}", "recipe.batch_size=16", "agent.warmup_epochs=1", "agent.train_every=2",
         "agent.rollout_steps=2"]  # fmt: skip
LONGER = ["dataset.train_limit=200"]  # every kind of step of a rollout comes several times
METHOD_OPTIONS = {
    "crd": ["method.negatives=16"],
    "dkd": ["method.warmup_epochs=2"],
    "reviewkd": ["method.warmup_epochs=2", "method.max_width=16", "teacher=resnet14"],
    "annealing": ["method.regression_epochs=2"],
    "diffkd": ["method.autoencoder_width=16"],
}
# Its weights fall in every epoch, so that no captured step outlives one.
ANEW_EVERY_EPOCH = {"infoflow"}
# It adds several gradients of a map. Where nobody else holds the first, the others are added to it in its own memory
# format; the tape holds everything, and a convolution rounds otherwise in another format.
ROUNDED = {"reviewkd"}


@pytest.fixture(autouse=True)
def _captured_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CapturedSteps, "WARM_UPS", 1)


def make(*overrides: str, tape: Tape | None = None) -> Trainer:
    return training(*SMALL, *overrides, recorder=tape)


def train(trainer: Trainer, epochs: int = EPOCHS) -> Trainer:
    while trainer.epoch < epochs:
        trainer.run_epoch(lambda: None)
    return trainer


def state(trainer: Trainer) -> dict[str, object]:
    """All but the learning rates, which are tensors of single precision where steps are captured."""
    whole = trainer.state_dict()
    return {**whole, "optimizer": whole["optimizer"]["state"]}


def check(*overrides: str, rounded: bool = False, epochs: int = EPOCHS) -> tuple[Tape, Trainer]:
    tape = Tape()
    expected, captured = train(make(*overrides), epochs), train(make(*overrides, tape=tape), epochs)
    if rounded:
        ours, theirs = (dict(one.objective.model.named_parameters()) for one in (expected, captured))
        assert all(torch.allclose(value, theirs[name], rtol=1e-3, atol=1e-5) for name, value in ours.items())
    else:
        assert same(state(expected), state(captured))
    assert captured.captured is not None
    assert not captured.captured.refused
    return tape, captured


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name: str) -> None:
    options = METHOD_OPTIONS.get(name, [])
    overrides = ("temperature=fixed", f"method={name}", *options)
    tape, _ = check(*overrides, rounded=name in ROUNDED, epochs=WITHOUT_AGENT)
    if name in ANEW_EVERY_EPOCH:
        assert (tape.recorded, tape.repeated) == (WITHOUT_AGENT, WITHOUT_AGENT * (FULL - 2))
    elif name in METHOD_OPTIONS or name == "dtkd":
        assert tape.repeated > tape.recorded
    else:
        assert (tape.warm_ups, tape.recorded, tape.repeated) == (1, 1, WITHOUT_AGENT * FULL - 2)


@pytest.mark.parametrize("name", [name for name in TEMPERATURES if name not in ("fixed", "rlkd")])
def test_every_policy(name: str) -> None:
    tape, _ = check(f"temperature={name}", epochs=WITHOUT_AGENT)
    assert tape.recorded == 1


AGENTS = {
    "paper": [],
    "loss_drop": ["agent.reward=loss_drop"],
    "probe": ["agent.reward=probe", "agent.probe_images=20"],
    "late": ["agent.reward_credit=late"],
    "mean action": ["agent.act=mean"],
    "official_code": ["agent=official_code", "agent.rollout_steps=1"],
    "progress": ["agent.state.features=[student_confidence,progress]"],
    "mixed in all": ["agent.exploration.epochs=code"],
}


@pytest.mark.parametrize("overrides", AGENTS.values(), ids=AGENTS)
def test_the_agent_learns_in_captured_steps(overrides: list[str]) -> None:
    tape, _ = check("temperature=rlkd", *LONGER, *overrides)
    assert tape.repeated > tape.recorded > 2  # acting, and several fillings of the rollout


def test_later_epochs_capture_nothing_anew() -> None:
    tape = Tape()
    trainer = make("temperature=rlkd", "agent.exploration.epochs=none", "recipe.epochs=8", *LONGER, tape=tape)
    train(trainer, 4)
    before = tape.recorded
    train(trainer, 8)
    assert tape.recorded == before
    assert not trainer.captured.refused  # type: ignore[union-attr]


def test_a_run_goes_on_from_a_checkpoint_of_captured_steps_and_the_other_way_round() -> None:
    overrides = ["temperature=rlkd"]
    expected = state(train(make(*overrides)))
    for first, second in ((Tape(), None), (None, Tape()), (Tape(), Tape())):
        begun = train(make(*overrides, tape=first), 2)
        kept = stored(begun.state_dict())
        resumed = make(*overrides, tape=second)
        resumed.load_state_dict(kept)
        assert same(state(train(resumed)), expected)


def test_phases_begin_with_steps_of_their_own() -> None:
    tape, _ = check("method=annealing", "temperature=fixed", "method.regression_epochs=2")
    assert tape.recorded >= 2


def test_what_cannot_be_captured_is_done_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    class Refusing(Tape):
        def record(self, work: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("operation not permitted when stream is capturing\nand much more")

    expected, trainer = train(make("temperature=rlkd")), train(make("temperature=rlkd", tape=Refusing()))
    assert trainer.captured is not None
    assert trainer.captured.refused
    assert same(state(expected), state(trainer))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith("capture   not possible (operation not permitted when stream is capturing): steps are done ")


def test_a_step_that_broke_off_is_gone_before_it_is_done_again() -> None:
    """Most of a GPU's memory may be what it held, and running out of that why it broke off."""

    class Activations:
        pass

    made: list[weakref.ref[Activations]] = []
    alive: list[int] = []

    def work() -> None:
        alive.append(sum(one() is not None for one in made))
        activations = Activations()
        made.append(weakref.ref(activations))
        if len(made) == CapturedSteps.WARM_UPS + 1:
            raise torch.OutOfMemoryError("out of memory")

    class Nothing:
        situation = Situation()

        def restore(self, situation: Situation) -> None:
            pass

    steps = CapturedSteps(Tape())
    for _ in range(3):
        steps.run(Nothing(), (), work)
    assert steps.refused
    assert alive == [0, 0, 0, 0]


def test_the_tape_refuses_what_a_gpu_refuses() -> None:
    for work in (lambda: torch.ones(2).sum().item(), lambda: torch.tensor(2.0), lambda: torch.ones(2).nonzero()):
        with pytest.raises(RuntimeError, match="not permitted"):
            Tape().record(work)  # type: ignore[arg-type]


def test_a_policy_that_says_nothing_is_not_captured(capsys: pytest.CaptureFixture[str]) -> None:
    class Own(Policy):
        def temperatures(self, observation: Observation) -> Temperatures:
            return Temperatures.equal(torch.tensor(4.0))

    tape = Tape()
    trainer = make("temperature=fixed", tape=tape)
    trainer.objective.policy = Own()  # type: ignore[attr-defined]
    train(trainer, 2)
    assert (tape.warm_ups, tape.recorded, trainer.captured) == (0, 0, None)
    assert capsys.readouterr().out.count("capture   not with this") == 1


def mixing(labels: list[str], *, tape: Tape | None = None) -> Trainer:
    """A training whose epochs replace every image by a mixture, each with labels of another kind."""
    trainer = make("temperature=fixed", tape=tape)
    objective, number = trainer.objective, trainer.loader.num_images
    begin_epoch = objective.begin_epoch

    def begin(epoch: int) -> MixPlan:
        begin_epoch(epoch)
        shares = torch.full((number,), 0.75)
        return MixPlan(torch.arange(number).roll(epoch), shares, labels[epoch - 1])

    objective.begin_epoch = begin  # type: ignore[method-assign]
    return trainer


def test_mixed_images_have_the_labels_of_their_own_epoch() -> None:
    labels = ["mixed", "low", "mixed", "low"]
    expected, captured = (train(mixing(labels, tape=tape), len(labels)) for tape in (None, Tape()))
    assert same(state(expected), state(captured))
    for tape in (None, Tape()):
        with pytest.raises(ValueError, match=r"MixPlan\.labels"):
            train(mixing(["nonsense"], tape=tape), 1)


def test_counts_go_on_in_repeated_steps() -> None:
    class Counting:
        count, value = 0, torch.zeros(())

        @property
        def situation(self) -> Situation:
            return Situation(self.count % 2, (self.count,))

        def restore(self, situation: Situation) -> None:
            (self.count,) = situation.counts

        def work(self) -> None:
            self.count += 2
            self.value.add_(1)

    steps, counting = CapturedSteps(Tape()), Counting()
    for _ in range(10):
        steps.run(counting, (), counting.work)
    assert (counting.count, counting.value.item()) == (20, 10)


class FakeGraph:
    """Repeats nothing."""

    def replay(self) -> None:
        pass


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Stream and pool of every capture that torch is asked for."""
    made: list[tuple[str, int]] = []
    handles = iter(range(9))
    for name, value in {
        "Stream": lambda device: "own",
        "default_stream": lambda device: "default",
        "current_stream": lambda device: "default",
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": FakeGraph,
        "graph_pool_handle": lambda: next(handles),
        "graph": lambda graph, pool, stream: made.append((stream, pool)) or nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
    return made


def test_graphs_share_memory_as_long_as_there_is_one(captures: list[tuple[str, int]]) -> None:
    graphs = CudaGraphs(CPU)
    kept = [graphs.record(lambda: None) for _ in range(2)]
    kept.clear()  # as where a phase begins anew
    kept = [graphs.record(lambda: None) for _ in range(2)]
    assert len(kept) == 2
    pools = [pool for _, pool in captures]
    assert pools[0] == pools[1] != pools[2] == pools[3]


def test_a_member_of_a_cohort_captures_on_its_own_stream(
    captures: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    CudaGraphs(CPU).record(lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "member's")
    CudaGraphs(CPU).record(lambda: None)
    assert [stream for stream, _ in captures] == ["own", "member's"]


def test_after_a_capture_that_broke_off_comes_one_that_does_not(
    captures: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise RuntimeError("not permitted")

    kept: list[FakeGraph] = []
    monkeypatch.setattr(capture, "_BROKEN_OFF", kept)
    graphs = CudaGraphs(CPU)
    with pytest.raises(RuntimeError, match="not permitted"):
        graphs.record(refused)
    assert len(captures) == 2
    assert captures[0] != captures[1]
    assert len(kept) == 1


def test_captured_steps_go_with_their_epoch_or_training() -> None:
    trainer = train(make("method=infoflow", "temperature=fixed", tape=Tape()), 2)
    assert trainer.captured is not None
    captured, whole = weakref.ref(trainer.captured), weakref.ref(trainer)
    train(trainer, 3)  # has a weight of its own
    assert captured() is None
    del trainer
    assert whole() is None  # at once: what it holds is most of a GPU's memory


def test_a_cpu_captures_nothing() -> None:
    assert composed(*SMALL).runtime.capture
    assert recorder_for(composed(*SMALL).runtime, CPU) is None
