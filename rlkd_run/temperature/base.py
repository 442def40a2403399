"""What a temperature policy is: told of every step before and after the update, it sets the temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rlkd_run.config.runconfig import RunConfig
from rlkd_run.protocol import Feedback, MixPlan, Observation, Situation, Temperatures


class PolicySetting(NamedTuple):
    """What a policy may need to know when it is built.

    Attributes:
        config: the run's configuration.
        num_classes: C.
        num_images: N, images in the training set.
        steps_per_epoch: mini-batches in an epoch.
        device: where its tensors live.
    """

    config: RunConfig
    num_classes: int
    num_images: int
    steps_per_epoch: int
    device: torch.device


class Policy:
    """A temperature policy. Subclasses take ``(options, setting)`` and give at least `temperatures`.

    Nothing in a step may wait for the device: no ``.item()``, no branch on a tensor.
    """

    def begin_epoch(self, epoch: int) -> MixPlan | None:  # noqa: ARG002
        """Called at the start of epoch `epoch` (from 1); may ask for mixed images.

        After a resume in the middle of an epoch it is called for that epoch once more, and must give the same plan.
        """
        return None

    def temperatures(self, observation: Observation) -> Temperatures:
        """The temperatures of a mini-batch, before the update."""
        raise NotImplementedError

    def observe(self, feedback: Feedback) -> None:  # noqa: ARG002
        """Called after the update of each step."""
        return

    def end_epoch(self) -> None:
        """Called after the last step of an epoch."""
        return

    @property
    def situation(self) -> Situation | None:
        """What Python knows of the policy between two steps; None: its steps must not be captured.

        A policy that says something here keeps whatever a step or an epoch changes in the same tensors all along:
        the step's number it reads by `Observation.row_of` alone, the epoch's in `begin_epoch`.
        """
        return None

    def restore(self, situation: Situation) -> None:  # noqa: ARG002
        """Take over what Python knows after a step that was repeated without it."""
        return

    def trainables(self) -> list[nn.Parameter]:
        """Parameters that the run's optimiser trains together with the student; they are in every checkpoint."""
        return []

    def metrics(self) -> dict[str, Tensor]:
        """0-dim tensors on the device, means over the epoch so far; read once an epoch."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside `trainables`: tensors, numbers, texts, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Restore what `state_dict` gave."""
        return
