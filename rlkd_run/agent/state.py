"""The state of an instance: what the logits of teacher and student say about how well both know it.

arXiv 2407.00115 builds the state from the confidence of both networks and an uncertainty score of the student. The
formulas are those of the authors' code, with its margin bug mended; the other features are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor


class Beliefs:
    """What both networks believe about a batch: softmax at T = 1 and what follows from it, each computed once if asked.

    Args:
        teacher_logits: [B, C]; any float type, with or without graph.
        student_logits: [B, C]; likewise.
        target: labels, [B] int64.
        progress: e / E, the part of the run that has begun, 0-dim.
    """

    def __init__(self, teacher_logits: Tensor, student_logits: Tensor, target: Tensor, progress: Tensor) -> None:
        self.teacher_logits = teacher_logits.detach().float()
        self.student_logits = student_logits.detach().float()
        self.target = target
        self.progress = progress

    @cached_property
    def teacher_log(self) -> Tensor:
        """log p_T, [B, C]."""
        return self.teacher_logits.log_softmax(dim=1)

    @cached_property
    def student_log(self) -> Tensor:
        """log p_S, [B, C]."""
        return self.student_logits.log_softmax(dim=1)

    @cached_property
    def teacher(self) -> Tensor:
        """p_T, [B, C]."""
        return self.teacher_logits.softmax(dim=1)

    @cached_property
    def student(self) -> Tensor:
        """p_S, [B, C]."""
        return self.student_logits.softmax(dim=1)

    @cached_property
    def student_entropy(self) -> Tensor:
        """Entropy of p_S in nats, [B]."""
        return entropy(self.student, self.student_log)


def entropy(probability: Tensor, log_probability: Tensor) -> Tensor:
    """Entropy in nats, [B], of distributions [B, C]. Zero probabilities count nothing."""
    return -(probability * log_probability).sum(dim=1)


def margin(probability: Tensor, second: str = "second_largest") -> Tensor:
    """Largest probability minus the second largest: 1 for a one-hot distribution, 0 for the uniform one.

    Args:
        probability: [B, C].
        second: "second_largest"; or "second_smallest", which the authors' code subtracts instead, so that its margin
            is almost the confidence itself.

    Returns:
        [B].
    """
    if second == "second_largest":
        largest, following = probability.topk(2, dim=1).values.unbind(dim=1)
        return largest - following
    return probability.amax(dim=1) - probability.topk(2, dim=1, largest=False).values[:, 1]


def true_probability(probability: Tensor, target: Tensor) -> Tensor:
    """Probability of the label, [B]."""
    return probability.gather(1, target[:, None])[:, 0]


def divergence(beliefs: Beliefs) -> Tensor:
    """KL(p_T || p_S) in nats, [B]."""
    return (beliefs.teacher * (beliefs.teacher_log - beliefs.student_log)).sum(dim=1)


class StateFeatures:
    """Turns beliefs into states [B, F].

    Args:
        names: features in order, of `rlkd_run.config.agent.STATE_FEATURES`.
        second: see `margin`; for both networks' margins.
        num_classes: C; entropies are divided by their maximum, log C.
    """

    def __init__(self, names: Sequence[str], second: str, num_classes: int) -> None:
        most = math.log(num_classes)
        by_name: dict[str, Callable[[Beliefs], Tensor]] = {
            "teacher_confidence": lambda beliefs: beliefs.teacher.amax(dim=1),
            "student_confidence": lambda beliefs: beliefs.student.amax(dim=1),
            "student_margin": lambda beliefs: margin(beliefs.student, second),
            "teacher_margin": lambda beliefs: margin(beliefs.teacher, second),
            "student_entropy": lambda beliefs: beliefs.student_entropy / most,
            "teacher_entropy": lambda beliefs: entropy(beliefs.teacher, beliefs.teacher_log) / most,
            "teacher_true_probability": lambda beliefs: true_probability(beliefs.teacher, beliefs.target),
            "student_true_probability": lambda beliefs: true_probability(beliefs.student, beliefs.target),
            "divergence": divergence,
            "progress": lambda beliefs: beliefs.progress.expand(len(beliefs.student)),
        }
        self._features = [by_name[name] for name in names]

    def __len__(self) -> int:
        return len(self._features)

    def __call__(self, beliefs: Beliefs) -> Tensor:
        """States, [B, F] float32, without graph to the networks."""
        return torch.stack([feature(beliefs) for feature in self._features], dim=1)
