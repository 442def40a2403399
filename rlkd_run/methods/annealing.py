"""Annealing-KD (arXiv 2104.07163): regression on logits that grow to their full size, then labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rlkd_run.config.methods import AnnealingOptions
from rlkd_run.methods.base import Method, Setting
from rlkd_run.protocol import Batch, Outputs, Temperatures
from rlkd_run.schedule import Phase


def annealing(epoch: int, epochs: int, steps: int) -> float:
    """phi of epoch `epoch` (from 1): 1/steps in the first of `steps` equal parts of the phase, 1 in the last.

    ceil(e * steps / epochs) / steps, which never passes 1; the authors' code does where the parts are not whole epochs.
    """
    return -(-epoch * steps // epochs) / steps


class Annealing(Method):
    """First phase: mean (u - phi * v)^2 over instances and classes. Second phase: cross entropy with the labels.

    phi is no temperature: it scales the teacher's logits and nothing else, so that no temperature policy has anything
    to set. Each phase has a fresh optimiser and runs the recipe's schedule anew, in proportion to its length. The
    second begins with the last weights of the first, or with those that were best on the validation split; the
    authors' were the best on the test set, which chooses nothing here.
    """

    def __init__(self, options: AnnealingOptions, setting: Setting) -> None:
        super().__init__()
        self.regression_epochs = options.regression_epochs
        self.steps = options.steps
        self._phases = (
            Phase(options.regression_epochs),
            Phase(setting.epochs - options.regression_epochs, labels_only=True, start=options.start),
        )

    def phases(self) -> tuple[Phase, ...]:
        """Regression, then labels."""
        return self._phases

    def reads(self, epoch: int) -> float:
        """See `Method.reads`: phi."""
        return annealing(min(epoch, self.regression_epochs), self.regression_epochs, self.steps)

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,  # noqa: ARG002
        temperatures: Temperatures,  # noqa: ARG002
        epoch: int,
    ) -> dict[str, Tensor]:
        """Part ``regression``; see `Method.forward`. The temperatures are not used."""
        phi = self.reads(epoch)
        return {"regression": F.mse_loss(student.logits, phi * teacher.logits)}
