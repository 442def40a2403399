"""Parameter-efficient and student-friendly distillation (PESF-KD, arXiv 2205.15308)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from rlkd_run.config.methods import PESFOptions
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence, trained
from rlkd_run.methods.features import penultimate_widths
from rlkd_run.methods.logits import LogitMethod, standardise
from rlkd_run.protocol import Batch, Needs, Outputs, Temperatures


class PESF(LogitMethod):
    """ce_weight * CE(u) + kl_weight * KL_T(v' -> u) + adapter_ce_weight * CE(v'), with v' = v - a(f_t).

    The adapter a = W2 relu(W1 (W0 f_t)) reads the teacher's penultimate feature and is trained with the student, at a
    learning rate of its own; the teacher stays as it is. The divergence's gradient reaches both sides: the student
    moves towards the teacher, and the adapter brings the teacher towards the student. A temperature policy sees v'.

    The paper's text has one divergence. With ``corrected=true`` there are the two of the authors' code: the student
    imitates the corrected v', and v' the corrected student, where `corrected` makes the true class the largest one.
    """

    needs: ClassVar[Needs] = Needs(penultimate=True)
    reads_epoch: ClassVar[bool] = False

    def __init__(self, options: PESFOptions, setting: Setting) -> None:
        super().__init__(standardise=options.standardise, ce_weight=options.ce_weight)
        self.kl_weight = options.kl_weight
        self.adapter_ce_weight = options.adapter_ce_weight
        self.adapter_lr = options.adapter_lr
        self.corrected = options.corrected
        _, width = penultimate_widths(setting)
        classes = setting.num_classes
        self.adapter = nn.Sequential(
            nn.Linear(width, classes),
            nn.Linear(classes, options.bottleneck),
            nn.ReLU(),
            nn.Linear(options.bottleneck, classes),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The adapter, at its own learning rate."""
        return [{**trained(self.adapter.parameters()), "lr": self.adapter_lr}]

    def adapted(self, teacher: Outputs) -> Tensor:
        """v', [B, C], with the graph to the adapter."""
        adapted: Tensor = teacher.logits - self.adapter(teacher.penultimate)
        return adapted

    def teacher_logits(self, outputs: Outputs) -> Tensor:
        """v', [B, C], standardised if asked for."""
        adapted = self.adapted(outputs)
        return standardise(adapted) if self.standardise else adapted

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,
        temperatures: Temperatures,
        epoch: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Parts ``ce``, ``kl`` and ``adapter_ce``; see `Method.forward`."""
        adapted, u = self.adapted(teacher), self.student_logits(student)
        v = standardise(adapted) if self.standardise else adapted
        if self.corrected:
            divergence = softened_divergence(corrected(v, batch.target).detach(), u, temperatures)
            turned = Temperatures(
                temperatures.student, temperatures.teacher
            )  # here the student's logits are the target
            divergence = divergence + softened_divergence(corrected(u, batch.target).detach(), v, turned)
        else:
            divergence = softened_divergence(v, u, temperatures)
        return {
            "ce": self.ce_weight * cross_entropy(student.logits, batch),
            "kl": self.kl_weight * divergence.mean(),
            "adapter_ce": self.adapter_ce_weight * cross_entropy(adapted, batch),
        }


def corrected(logits: Tensor, target: Tensor) -> Tensor:
    """Logits with the largest value and that of the true class swapped.

    Args:
        logits: [B, C].
        target: [B] int64.
    """
    index, largest = target[:, None], logits.argmax(1, keepdim=True)
    swapped = logits.scatter(1, largest, logits.gather(1, index))
    return swapped.scatter(1, index, logits.gather(1, largest))
