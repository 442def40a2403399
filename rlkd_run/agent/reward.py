"""The reward of a training step: how much better the student became, one number a batch.

It never waits for the device: every value is a 0-dim tensor, and whether one exists yet is known to Python.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlkd_run.labels import cross_entropy
from rlkd_run.protocol import Feedback, Mix


def accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Top-1 accuracy of logits [B, C] on labels [B], in [0, 1], 0-dim."""
    return (logits.argmax(dim=1) == target).float().mean()


def macro_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Accuracy averaged over the classes that occur among labels or predictions, 0-dim (authors' code).

    A class that is predicted and does not occur among the labels counts as 0.
    """
    classes = torch.arange(logits.shape[1], device=target.device)
    labelled = target[:, None] == classes
    predicted = logits.argmax(dim=1)[:, None] == classes
    hits = (labelled & predicted).sum(dim=0)
    recall = hits / labelled.sum(dim=0).clamp(min=1)
    return recall.sum() / (labelled | predicted).any(dim=0).sum()


def epoch_factor(epoch: int) -> float:
    """The factor by which the authors' code multiplies the reward in an epoch of its CIFAR recipe (240 epochs)."""

    def wave(period: int) -> float:
        return (math.cos(math.pi * epoch / period) + 1) / 2 + 1

    if epoch < 150:
        return 10 * wave(75)
    if epoch < 210:
        return 5 * wave(30)
    if epoch < 240:
        return 2 * wave(30)
    return 1.0


class RunningMoments:
    """Mean and standard deviation of the recent past: what is older counts as `WINDOW` values, however many it was.

    Rewards shrink as the student and its learning rate settle; moments of the whole past would drown them.
    Parallel update of Chan, Golub and LeVeque; biased deviation.
    """

    WINDOW = 256  # values, one a training step

    def __init__(self, device: torch.device) -> None:
        self.count = torch.zeros((), device=device)
        self.mean = torch.zeros((), device=device)
        self.squares = torch.zeros((), device=device)  # sum of squared deviations from the mean

    def update(self, values: Tensor) -> None:
        """Take in values [n], n >= 1."""
        number = values.shape[0]
        mean = values.mean()
        difference = mean - self.mean
        kept = self.count.clamp(max=self.WINDOW)
        total = kept + number
        self.squares *= kept / self.count.clamp(min=1)
        self.squares += (values - mean).square().sum() + difference.square() * kept * number / total
        self.mean += difference * number / total
        self.count.copy_(total)

    @property
    def std(self) -> Tensor:
        """Standard deviation, 0-dim; 1 while all values were equal."""
        variance = self.squares / self.count.clamp(min=1)
        return torch.where(variance > 0, variance, 1.0).sqrt()

    def state_dict(self) -> dict[str, Tensor]:
        """Count, mean and sum of squares."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name in ("count", "mean", "squares"):
            getattr(self, name).copy_(state[name])


class BatchReward:
    """Measures the student around each update and turns the change into rewards.

    accuracy, macro_accuracy: a_{t+1} - a_t of consecutive batches, measured by the forward pass that training makes
    anyway; the reward of step t is known one step later. probe: drop of the cross entropy on fixed images since the
    update before. loss_drop: drop of the cross entropy on the batch itself; both are known after the update.

    Args:
        kind: see `AgentOptions.reward`.
        credit: "cause": to the step whose update brought the change about; "late": to the step after it, as in the
            authors' code.
        device: where the measurements live, always in the same tensors.

    Attributes:
        measured: whether there is a performance, and a change of it, to go on from.
    """

    def __init__(self, kind: str, credit: str, device: torch.device) -> None:
        self.kind, self.credit = kind, credit
        self._performance = torch.zeros((), device=device)
        self._change = torch.zeros((), device=device)
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget what was measured: an epoch's first step is compared with nothing."""
        self.measured: tuple[bool, bool] = (False, False)
        self._batch: tuple[Tensor, Tensor, Mix | None] | None = None  # lives from before an update to after it

    @property
    def comes_with_next_batch(self) -> bool:
        """Whether a step's reward is known when the next batch is observed, rather than after its update."""
        return self.kind in ("accuracy", "macro_accuracy")

    def before_update(self, logits: Tensor, target: Tensor, mix: Mix | None = None) -> Tensor | None:
        """Look at the student's logits [B, C] on a new batch with labels [B] and, of mixed images, second labels.

        Returns:
            The reward of the step before (accuracies only); None if it has none.
        """
        if self.kind == "loss_drop":
            self._batch = (cross_entropy(logits, target, mix), target, mix)
            return None
        if not self.comes_with_next_batch:
            return None
        measure = accuracy if self.kind == "accuracy" else macro_accuracy
        return self._credited(self._since_last(measure(logits, target)))

    def after_update(self, feedback: Feedback) -> Tensor | None:
        """Look at the student after the update: the reward of this step, None if it has none."""
        if self.kind == "loss_drop" and self._batch is not None:
            loss, target, mix = self._batch
            self._batch = None
            return self._credited(loss - cross_entropy(feedback.logits_again().detach().float(), target, mix))
        return self._credited(self._since_last(-feedback.probe_loss().detach().float()))

    def _since_last(self, performance: Tensor) -> Tensor | None:
        change = performance - self._performance if self.measured[0] else None
        self._performance.copy_(performance)
        self.measured = (True, self.measured[1])
        return change

    def _credited(self, change: Tensor | None) -> Tensor | None:
        if self.credit == "cause":
            return change
        earlier = self._change.clone() if self.measured[1] else None
        if change is not None:
            self._change.copy_(change)
        self.measured = (self.measured[0], change is not None)
        return earlier

    def state_dict(self) -> dict[str, Tensor]:
        """What was measured so far, as far as it exists."""
        values = {"performance": self._performance, "change": self._change}
        return {name: value for (name, value), exists in zip(values.items(), self.measured, strict=True) if exists}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.begin_epoch()
        self.measured = ("performance" in state, "change" in state)
        self._performance.copy_(state.get("performance", self._performance))
        self._change.copy_(state.get("change", self._change))
