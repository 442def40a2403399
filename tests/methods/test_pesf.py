"""PESF-KD: the adapter's size, its routes of gradient, its learning rate, and the corrected form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden import BATCH, U, V, golden
from torch import nn

from rlkd_run.config.methods import PESFOptions
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence
from rlkd_run.methods.pesf import PESF, corrected
from rlkd_run.models.build import build_model
from rlkd_run.protocol import Outputs, Temperatures
from rlkd_run.schedule import Schedule
from rlkd_run.training import Trainer

FEATURES = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.0, 1.0]], dtype=torch.float64)
AT_4 = Temperatures.equal(torch.tensor(4.0, dtype=torch.float64))


class Tiny(nn.Module):
    """A network that ends in one linear layer."""

    classifier_module = "fc"

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)


def pesf(*, width: int = 3, classes: int = 4, corrected: bool = False, kl_weight: float = 0.9) -> PESF:
    torch.manual_seed(0)
    tiny = Tiny(width, classes)
    options = PESFOptions("pesf", 0.1, kl_weight, 1.0, 2e-5, 32, corrected, False)
    return PESF(options, Setting(tiny, tiny, classes, 2, (3, 1, 1), 240)).double()


def silent(method: PESF) -> PESF:
    """With an adapter whose last layer is zero."""
    last = method.adapter[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return method


@pytest.mark.parametrize(("width", "count"), [(64, 13_032), (128, 19_432), (256, 32_232)])
def test_parameters_of_the_adapter(width: int, count: int) -> None:
    method = pesf(width=width, classes=100)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


def test_a_silent_adapter_leaves_kd_and_the_teachers_own_cross_entropy() -> None:
    method = silent(pesf())
    teacher = Outputs(V, FEATURES)
    assert torch.equal(method.teacher_logits(teacher), V)
    parts = method(Outputs(U), teacher, BATCH, AT_4, 1)
    assert parts["kl"].item() / 0.9 == golden("0.4799989")
    assert parts["ce"].item() / 0.1 == golden("0.8648802")
    assert parts["adapter_ce"].item() == pytest.approx(cross_entropy(V, BATCH).item())


@pytest.mark.parametrize("swapped", [False, True])
def test_the_gradient_reaches_student_and_adapter_and_no_teacher(swapped: bool) -> None:
    method = pesf(corrected=swapped)
    u, v = U.clone().requires_grad_(), V.clone().requires_grad_()
    parts = method(Outputs(u), Outputs(v.detach(), FEATURES), BATCH, AT_4, 1)
    parts["kl"].backward()
    assert u.grad is not None
    assert u.grad.abs().max() > 0
    assert v.grad is None
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in method.adapter.parameters())


def test_the_adapter_is_a_group_of_its_own() -> None:
    method = pesf()
    (group,) = method.parameter_groups()
    assert group["lr"] == 2e-5
    assert len(group["params"]) == 6


def test_correction_swaps_the_largest_with_the_true_class() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 3.0, 2.0], [0.0, 1.0, 2.0]])
    swapped = corrected(logits, torch.tensor([0, 0, 1]))
    assert swapped.tolist() == [[3, 1, 2], [5, 3, 2], [0, 2, 1]]
    assert logits[0].tolist() == [1, 3, 2]


def test_each_side_of_the_corrected_divergences_keeps_its_temperature() -> None:
    method = silent(pesf(corrected=True, kl_weight=1.0))
    sharp, flat = torch.tensor(2.0).double(), torch.tensor(6.0).double()  # of the teacher and of the student
    expected = softened_divergence(corrected(V, BATCH.target), U, Temperatures(sharp, flat))
    expected = expected + softened_divergence(corrected(U, BATCH.target), V, Temperatures(flat, sharp))
    found = method(Outputs(U), Outputs(V, FEATURES), BATCH, Temperatures(sharp, flat), 1)["kl"]
    torch.testing.assert_close(found, expected.mean())


def test_corrected_divergences() -> None:
    method = silent(pesf(corrected=True, kl_weight=1.0))
    expected = softened_divergence(corrected(V, BATCH.target), U, AT_4)
    expected = expected + softened_divergence(corrected(U, BATCH.target), V, AT_4)
    parts = method(Outputs(U), Outputs(V, FEATURES), BATCH, AT_4, 1)
    assert parts["kl"].item() == pytest.approx(expected.mean().item())
    # The student's second row is wrong, so the corrected student is another target than the student.
    assert parts["kl"].item() != pytest.approx((softened_divergence(V, U, AT_4) * 2).mean().item())


def test_it_reads_the_penultimate_feature_of_a_real_network() -> None:
    teacher, student = build_model("zoo", "resnet14", 10), build_model("zoo", "resnet8", 10)
    options = PESFOptions("pesf", 0.1, 0.9, 1.0, 2e-5, 32, False, False)
    method = PESF(options, Setting(student, teacher, 10, 2, (3, 8, 8), 240))
    first = method.adapter[0]
    assert isinstance(first, nn.Linear)
    assert first.in_features == 64


def test_the_adapters_rate_falls_with_the_schedule() -> None:
    method = pesf()
    student = nn.Linear(2, 2)

    class Objective:
        model = student
        phases = ()

        def parameter_groups(self) -> list[dict[str, Any]]:
            return [{"params": list(student.parameters())}, *method.parameter_groups()]

    class Loader:
        num_images = 2

    trainer = Trainer(Objective(), Loader(), Schedule(4, 0.05, [2], 0.1, 0.9, False, 0.0), torch.device("cpu"))  # type: ignore[arg-type]
    rates = []
    for epoch in (1, 3):
        trainer.set_lr(trainer.schedule.lr_at(epoch))
        rates.append([group["lr"] for group in trainer.optimizer.param_groups])
    assert rates == [pytest.approx([0.05, 2e-5]), pytest.approx([0.005, 2e-6])]
