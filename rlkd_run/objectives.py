"""What a network is trained towards: labels alone, or a teacher through a base method and a temperature policy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlkd_run.branches import Branches, WeightGradients
from rlkd_run.contract import WatchedTemperatures, check_parts, check_temperatures, name_of, reads_none
from rlkd_run.methods.base import Method, cross_entropy, trained
from rlkd_run.models.features import Network
from rlkd_run.protocol import Batch, Feedback, MixPlan, Observation, Situation
from rlkd_run.schedule import Phase, phase_at
from rlkd_run.teacher_cache import LiveTeacher, Teacher
from rlkd_run.temperature.base import Policy

NOTHING_BESIDE = Branches(None)


class StepLosses(NamedTuple):
    """What an objective makes of a mini-batch.

    Attributes:
        parts: weighted 0-dim parts of the loss by name, attached to the graph.
        logits: of the network in training, [B, C].
        temperature: of the student's softmax, 0-dim or [B]; None where there is none.
    """

    parts: dict[str, Tensor]
    logits: Tensor
    temperature: Tensor | None


class Supervised:
    """What a network is trained towards, as the loop sees it: by itself the labels alone, as a teacher is trained.

    Args:
        network: the network in training, with what is asked of it.
        beside: what can be done beside the rest of a step.
    """

    phases: tuple[Phase, ...] = ()

    def __init__(self, network: Network, beside: Branches = NOTHING_BESIDE) -> None:
        self.network = network
        self.model = network.model
        self.beside = beside
        network.weight_gradients = WeightGradients(beside) if beside.exist else None

    @property
    def sets_temperatures(self) -> str | None:
        """Who sets the temperatures in this epoch, as messages say it; None: there are none."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything that the optimiser trains, the network's parameters in the first group.

        A group holds ``params``, and ``lr`` where its learning rate starts elsewhere than the schedule's.
        """
        return [trained(self.model.parameters())]

    def begin_epoch(self, epoch: int) -> MixPlan | None:  # noqa: ARG002
        """Prepare epoch `epoch` (from 1); may ask for mixed images."""
        return None

    def reads(self, epoch: int) -> Hashable:  # noqa: ARG002
        """What of the epoch's number is in the losses: captured steps serve as long as it is the same."""
        return None

    @property
    def situation(self) -> Situation | None:
        """What Python knows between two steps of the epoch that has begun; None: they must not be captured."""
        return Situation()

    def restore(self, situation: Situation) -> None:
        """Take over what Python knows after a step that was repeated without it."""

    def losses(self, batch: Batch, epoch: int, step: int, position: Tensor | None = None) -> StepLosses:  # noqa: ARG002
        """Forward passes and the loss (part ``ce``), before the update; `position` as in `Observation`."""
        logits = self.network(batch.images).logits
        return StepLosses({"ce": cross_entropy(logits, batch)}, logits, None)

    def after_update(self, batch: Batch) -> None:
        """Look at what the update has done."""

    def end_epoch(self) -> None:
        """Close the epoch."""

    def metrics(self) -> dict[str, Tensor]:
        """Further 0-dim numbers of the epoch, on the device."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {"model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.model.load_state_dict(state["model"])


class Distillation(Supervised):
    """A student learns from a frozen teacher; in a phase on labels alone, from these.

    Args:
        student: the network in training, with the features that the method needs.
        teacher: likewise; its parameters get no gradient and its mode stays evaluation.
        method: gives the parts of the loss.
        policy: gives the temperatures.
        probe_loss: measures the student on images set aside; called only if the policy asks.
        beside: what can be done beside the rest of a step.
        watched: whether it is told, after the first step, if the method has read no temperature.

    Attributes:
        answers: what is asked for the teacher's outputs: the network itself, unless its answers are kept.
    """

    def __init__(
        self,
        student: Network,
        teacher: Network,
        method: Method,
        policy: Policy,
        probe_loss: Callable[[], Tensor],
        beside: Branches = NOTHING_BESIDE,
        *,
        watched: bool = False,
    ) -> None:
        super().__init__(student, beside)
        self.student = student
        self.teacher = teacher
        self.method = method
        self.policy = policy
        self.probe_loss = probe_loss
        self.answers: Teacher = LiveTeacher(teacher)
        self.phases = method.phases()
        self._watched = watched
        self._is_taught = True  # in this epoch
        teacher.model.eval().requires_grad_(False)

    @property
    def sets_temperatures(self) -> str | None:
        """The policy; in a phase on labels alone, nobody."""
        return name_of(type(self.policy)) if self._is_taught else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The student's, the method's and the policy's."""
        policy = trained(self.policy.trainables())
        return [*super().parameter_groups(), *self.method.parameter_groups(), policy]

    def begin_epoch(self, epoch: int) -> MixPlan | None:
        """The policy may ask for mixed images; in a phase on labels alone it is not asked for anything."""
        self._is_taught = not self.phases or not phase_at(self.phases, epoch)[0].labels_only
        return self.policy.begin_epoch(epoch) if self._is_taught else None

    def reads(self, epoch: int) -> Hashable:
        """What the method does; in a phase on labels alone, nothing."""
        return self.method.reads(epoch) if self._is_taught else None

    @property
    def situation(self) -> Situation | None:
        """The policy's."""
        if not self._is_taught:
            return super().situation
        return self.policy.situation if self.answers.on_device else None

    def restore(self, situation: Situation) -> None:
        """The policy's part."""
        if self._is_taught:
            self.policy.restore(situation)

    def losses(self, batch: Batch, epoch: int, step: int, position: Tensor | None = None) -> StepLosses:
        """Teacher, student, temperatures, method; in a phase on labels alone, their cross entropy."""
        if not self._is_taught:
            return super().losses(batch, epoch, step)
        with self.beside.branch():
            teacher = self.answers(batch)
        student = self.student(batch.images)
        self.beside.join()
        observation = Observation(
            self.method.teacher_logits(teacher),
            self.method.student_logits(student),
            batch.target,
            batch.index,
            batch.mix,
            epoch,
            step,
            position,
            raw=(teacher.logits, student.logits),
            may_be_repeated=self.policy.situation is not None,
        )
        temperatures = check_temperatures(self.policy, self.policy.temperatures(observation), len(batch.target))
        shown = WatchedTemperatures(*temperatures) if self._watched else temperatures
        parts = check_parts(self.method, self.method(student, teacher, batch, shown, epoch))
        if isinstance(shown, WatchedTemperatures):
            self._watched = False
            if not shown.was_read:
                print(f"note      {reads_none(self.method)}", flush=True)
        return StepLosses(parts, student.logits, temperatures.student)

    def after_update(self, batch: Batch) -> None:
        """Let the policy see what came of its temperatures."""
        if self._is_taught:
            self.policy.observe(Feedback(lambda: self.student.logits_again(batch.images), self.probe_loss))

    def end_epoch(self) -> None:
        """Policy and teacher close their epoch."""
        if self._is_taught:
            self.policy.end_epoch()
            self.answers.end_epoch()

    def metrics(self) -> dict[str, Tensor]:
        """The policy's."""
        return self.policy.metrics()

    def state_dict(self) -> dict[str, Any]:
        """Student, method and policy; the teacher does not change.

        What the policy trains with the student is here whether or not its own `Policy.state_dict` tells.
        """
        return {
            **super().state_dict(),
            "method": self.method.state_dict(),
            "policy": self.policy.state_dict(),
            "trainables": [parameter.detach() for parameter in self.policy.trainables()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore student, method and policy."""
        super().load_state_dict(state)
        self.method.load_state_dict(state["method"])
        self.policy.load_state_dict(state["policy"])
        with torch.no_grad():
            for parameter, value in zip(self.policy.trainables(), state["trainables"], strict=True):
                parameter.copy_(value)
