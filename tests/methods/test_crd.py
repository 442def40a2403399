"""CRD: its loss in numbers, its gradient against the plain way to write it, its negatives and its memory."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from golden import golden
from torch import Tensor, nn

from rlkd_run.config.methods import CRDOptions
from rlkd_run.errors import ConfigError
from rlkd_run.methods.base import Setting
from rlkd_run.methods.crd import CRD, UNKNOWN, contrastive_loss
from rlkd_run.protocol import Batch, Outputs


class Head(nn.Module):
    """A network that says where its classifier is, and is never called."""

    classifier_module = "fc"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 4)


def crd(*, images: int = 40, negatives: int = 64, classes: int = 4, embedding: int = 8) -> CRD:
    torch.manual_seed(0)
    options = CRDOptions("crd", 0.1, 0.9, 0.8, False, embedding, negatives, 0.07, 0.5)
    return CRD(options, Setting(Head(5), Head(6), classes, images, (3, 8, 8), 240)).double()


def inputs(index: Tensor, target: Tensor, seed: int = 1) -> tuple[Outputs, Outputs, Batch]:
    generator = torch.Generator().manual_seed(seed)
    size = len(index)
    ours = torch.randn(size, 5, dtype=torch.float64, generator=generator).requires_grad_()
    theirs = torch.randn(size, 6, dtype=torch.float64, generator=generator)
    logits = torch.zeros(size, 4, dtype=torch.float64)
    return Outputs(logits, ours), Outputs(logits, theirs), Batch(torch.zeros(size, 3, 1, 1), target, index)


def test_loss_where_nothing_is_known() -> None:
    probabilities = torch.full((2, 1 + 16384), 1 / 50000, dtype=torch.float64)
    assert contrastive_loss(probabilities, 50000).item() == golden("10.7091")


def test_loss_where_nothing_is_known_without_the_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlkd_run.methods.crd.EPSILON", 0.0)
    probabilities = torch.full((2, 1 + 16384), 1 / 50000, dtype=torch.float64)
    assert contrastive_loss(probabilities, 50000).item() == golden("10.704")
    assert 2 * contrastive_loss(probabilities, 50000).item() == golden("21.4")


def test_loss_and_gradient_are_those_of_fetched_rows() -> None:
    method = crd()
    plain = copy.deepcopy(method)
    student, teacher, batch = inputs(torch.tensor([3, 11, 30]), torch.tensor([0, 1, 2]))
    torch.manual_seed(5)
    loss = method.feature_loss(student, teacher, batch)
    loss.backward()
    assert student.penultimate is not None
    gradient = student.penultimate.grad

    # The same draw; then every row is fetched, and autograd does the rest.
    torch.manual_seed(5)
    plain.classes[batch.index] = batch.target
    chosen = torch.cat([batch.index[:, None], plain._draw(batch.target)], 1)
    again, _, _ = inputs(batch.index, batch.target)
    assert again.penultimate is not None
    assert teacher.penultimate is not None
    ours = F.normalize(plain.embed_student(again.penultimate), dim=1)
    theirs = F.normalize(plain.embed_teacher(teacher.penultimate), dim=1)
    expected = torch.zeros((), dtype=torch.float64)
    for anchor, memory in ((ours, plain.teacher_memory), (theirs, plain.student_memory)):
        scores = ((memory[chosen] * anchor[:, None]).sum(2) / 0.07).exp()
        expected = expected + contrastive_loss(scores / (scores.mean().detach() * 40), 40)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, again.penultimate.grad)
    for one, other in zip(method.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad)


def test_negatives_are_of_other_classes_and_all_of_them() -> None:
    method = crd(images=12, negatives=4000)
    method.classes.copy_(torch.arange(12) % 3)
    drawn = method._draw(torch.tensor([0, 1, 2, 1]))
    assert drawn.shape == (4, 4000)
    for row, label in zip(drawn, (0, 1, 2, 1), strict=True):
        counts = row.bincount(minlength=12)
        assert (counts[method.classes == label] == 0).all()
        # 8 images, 500 draws each on average, standard deviation 21.
        assert (counts[method.classes != label] - 500).abs().max() < 110


def test_images_not_met_are_negatives_but_never_the_image_itself() -> None:
    method = crd(images=4, negatives=400)
    student, teacher, batch = inputs(torch.tensor([2, 0]), torch.tensor([1, 1]))
    method.feature_loss(student, teacher, batch)
    assert method.classes.tolist() == [1, UNKNOWN, 1, UNKNOWN]
    assert set(method._draw(torch.tensor([1])).flatten().tolist()) == {1, 3}


def test_a_training_set_of_one_class_only_does_not_stop_the_device() -> None:
    method = crd(images=4)
    method.classes.zero_()
    assert method._draw(torch.tensor([0])).max() < 4


def test_the_constant_is_set_once() -> None:
    method = crd()
    assert method.normalisers.tolist() == [0, 0]
    batches = [inputs(torch.arange(3) + 3 * i, torch.arange(3), seed=i) for i in range(2)]
    method.feature_loss(*batches[0])
    first = method.normalisers.clone()
    assert (first > 0).all()
    method.feature_loss(*batches[1])
    assert torch.equal(method.normalisers, first)


def test_the_memory_moves_halfway_and_keeps_its_length() -> None:
    method = crd()
    student, teacher, batch = inputs(torch.tensor([7, 2]), torch.tensor([0, 1]))
    before = method.student_memory.clone()
    assert before.abs().max() <= (3 / 8) ** 0.5
    method.feature_loss(student, teacher, batch)
    assert student.penultimate is not None
    embedded = F.normalize(method.embed_student(student.penultimate), dim=1)
    expected = before.clone()
    expected[batch.index] = F.normalize((before[batch.index] + embedded) / 2, dim=1)
    torch.testing.assert_close(method.student_memory, expected.detach())


def test_an_image_that_is_in_the_batch_twice_is_remembered_as_it_came_last() -> None:
    student, teacher, batch = inputs(torch.tensor([7, 2, 7]), torch.tensor([0, 1, 0]))
    method = crd()
    method.feature_loss(student, teacher, batch)
    assert student.penultimate is not None
    last = crd()
    last.feature_loss(
        student._replace(penultimate=student.penultimate[1:]),
        teacher._replace(penultimate=None if teacher.penultimate is None else teacher.penultimate[1:]),
        Batch(batch.images[1:], batch.target[1:], batch.index[1:]),
    )
    torch.testing.assert_close(method.student_memory, last.student_memory)


def test_a_resumed_memory_goes_on_in_the_same_bits() -> None:
    one, other = crd(), crd()
    batches = [inputs(torch.arange(4) * (i + 1), torch.arange(4), seed=i) for i in range(3)]
    for batch in batches[:2]:
        one.feature_loss(*batch)
    other.load_state_dict(one.state_dict())
    torch.manual_seed(9)
    expected = one.feature_loss(*batches[2])
    torch.manual_seed(9)
    assert torch.equal(other.feature_loss(*batches[2]), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


def test_parameters_and_buffers() -> None:
    method = crd(images=40, embedding=8)
    assert sum(parameter.numel() for parameter in method.parameters()) == (5 * 8 + 8) + (6 * 8 + 8)
    assert {name: tuple(buffer.shape) for name, buffer in method.named_buffers()} == {
        "student_memory": (40, 8),
        "teacher_memory": (40, 8),
        "classes": (40,),
        "normalisers": (2,),
    }


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is only one class"):
        crd(classes=1)
