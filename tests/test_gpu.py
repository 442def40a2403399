"""On a GPU: nothing in a step waits for it, and captured steps end in the bits of steps done one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from composed import composed
from states import same
from test_capture import AGENTS, LONGER, METHOD_OPTIONS, SMALL

from rlkd_run import teachers
from rlkd_run.branches import Branches
from rlkd_run.capture import CapturedSteps, CudaGraphs
from rlkd_run.config.registry import METHODS, TEMPERATURES
from rlkd_run.device import prepare
from rlkd_run.experiment import build, open_data
from rlkd_run.layer_rates import layer_rates
from rlkd_run.models.features import Network
from rlkd_run.objectives import Supervised
from rlkd_run.protocol import Situation
from rlkd_run.schedule import Schedule
from rlkd_run.seeding import derive_seed
from rlkd_run.teacher_cache import CachedTeacher, teacher_for
from rlkd_run.training import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
EPOCHS = 4
BF16 = ("runtime.precision=bf16", "runtime.teacher_precision=bf16")


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    """What `prepare` sets is the process's."""
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    yield
    torch.set_deterministic_debug_mode(before[0])
    torch.backends.cudnn.benchmark = before[1]


def make(*overrides: str, captured: bool) -> Trainer:
    config = composed(*SMALL, *overrides)
    device = prepare(config.runtime)
    dataset = open_data(config, device)
    objective = build(config, dataset, teachers.build(config, dataset, device), device)
    if config.runtime.compile == "all":
        objective.student.compile(config.recipe.batch_size)
    torch.manual_seed(derive_seed(config.seed, "training"))
    loader = dataset.train_batches(config.recipe.batch_size, derive_seed(config.seed, "data"))
    objective.answers = teacher_for(config, objective.teacher, loader, dataset)
    rates = layer_rates(config.recipe, objective.model)
    recorder = CudaGraphs(device) if captured else None
    return Trainer(objective, loader, Schedule.of(config.recipe), device, rates, recorder)


def train(trainer: Trainer) -> Trainer:
    """All epochs; from the second on, every step after an epoch's first runs under a guard against waiting."""

    def guarded() -> None:
        inside = trainer.epoch > 0 and trainer.step < trainer.loader.steps_per_epoch
        torch.cuda.set_sync_debug_mode("error" if inside else "default")

    try:
        while trainer.epoch < EPOCHS:
            trainer.run_epoch(guarded)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return trainer


def state(trainer: Trainer) -> dict[str, Any]:
    """All but the learning rates, which are tensors where steps are captured."""
    return {**trainer.state_dict(), "optimizer": trainer.optimizer.state_dict()["state"]}


def check(*overrides: str) -> None:
    """One by one, captured, and captured with branches."""
    plain, captured = train(make(*overrides, captured=False)), train(make(*overrides, captured=True))
    branching = train(make(*overrides, "runtime.branches=true", captured=True))
    for one in (captured, branching):
        assert one.captured is not None
        assert not one.captured.refused
    expected, found, beside = map(state, (plain, captured, branching))
    assert same(expected, found), "captured"
    assert same(expected, beside), "captured with branches"


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name: str) -> None:
    check("temperature=fixed", f"method={name}", *METHOD_OPTIONS.get(name, []), *LONGER)


@pytest.mark.parametrize("name", [name for name in TEMPERATURES if name not in ("fixed", "rlkd")])
def test_every_policy(name: str) -> None:
    check(f"temperature={name}", *LONGER)


@pytest.mark.parametrize("overrides", AGENTS.values(), ids=AGENTS)
def test_the_agent_learns(overrides: list[str]) -> None:
    check("temperature=rlkd", *LONGER, *overrides)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("method", ["kd", "srrl", "rkd", "crd"])
def test_answers_that_lie_on_the_device(method: str, precision: str) -> None:
    cache = ("runtime.teacher_cache=full", f"runtime.teacher_cache_precision={precision}")
    overrides = ("temperature=fixed", f"method={method}", *METHOD_OPTIONS.get(method, []), *LONGER, *cache)
    answers = make(*overrides, captured=False).objective.answers  # type: ignore[attr-defined]
    assert isinstance(answers, CachedTeacher)
    assert answers.on_device
    check(*overrides)


def test_layers_with_rates_of_their_own() -> None:
    check("temperature=fixed", "recipe.lr_policy=tempbalance", "recipe.tempbalance.min_eigenvalues=8", *LONGER)


def test_a_teachers_own_training() -> None:
    def own(*, captured: bool) -> Trainer:
        whole = make("temperature=fixed", *LONGER, captured=captured)
        alone = Supervised(Network(whole.objective.model), Branches(None))
        recorder = CudaGraphs(whole.device) if captured else None
        return Trainer(alone, whole.loader, whole.schedule, whole.device, recorder=recorder)

    plain, captured = train(own(captured=False)), train(own(captured=True))
    assert captured.captured is not None
    assert not captured.captured.refused
    assert same(state(plain), state(captured))


@pytest.mark.parametrize("captured", [False, True])
def test_a_captured_run_goes_on_from_a_checkpoint_of_either_kind(captured: bool) -> None:
    whole = train(make("temperature=rlkd", *LONGER, captured=True))
    begun = make("temperature=rlkd", *LONGER, captured=captured)
    for _ in range(2):
        begun.run_epoch(lambda: None)
    resumed = make("temperature=rlkd", *LONGER, captured=True)
    resumed.load_state_dict(begun.state_dict())
    assert same(state(whole), state(train(resumed)))
    assert resumed.captured is not None
    assert not resumed.captured.refused


def test_low_precision() -> None:
    check("temperature=rlkd", *LONGER, *BF16)


@pytest.mark.filterwarnings("ignore")  # what the compiler warns of is another thing with every version and device
def test_what_is_compiled_around_its_convolutions() -> None:
    overrides = ("temperature=rlkd", *LONGER, *BF16, "runtime.compile=all", "runtime.branches=true")
    plain, captured = (train(make(*overrides, captured=captured)) for captured in (False, True))
    assert captured.captured is not None
    assert not captured.captured.refused
    assert same(state(plain), state(captured))


class Nothing:
    """Python knows nothing."""

    situation = Situation()

    def restore(self, situation: Situation) -> None:
        pass


def test_a_kind_of_step_that_cannot_be_captured_leaves_the_others_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    device = torch.device("cuda")
    done, drawn, steps = (
        torch.zeros((), device=device),
        torch.zeros(5, device=device),
        CapturedSteps(CudaGraphs(device)),
    )

    def allowed() -> None:
        done.add_(1)
        drawn.copy_(torch.rand(5, device=device))

    def refused() -> None:
        done.add_(done.item())

    current, seen = torch.cuda.current_stream(), set()
    for work in (allowed, refused, allowed):
        for _ in range(CapturedSteps.WARM_UPS + 3):
            before = done.item()
            steps.run(Nothing(), work.__name__, work)
            assert done.item() == before + (1 if work is allowed else before)
            seen.add(drawn[0].item())
            assert torch.cuda.current_stream() == current
        done.zero_()
    assert steps.refused
    assert len(seen) == 2 * (CapturedSteps.WARM_UPS + 3)
    assert capsys.readouterr().out.count("capture   not possible") == 1
    assert torch.rand(5, device=device).isfinite().all()
