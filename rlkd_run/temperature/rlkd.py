"""RLKD (arXiv 2407.00115): the agent sets the temperature of every instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rlkd_run.agent import Agent
from rlkd_run.config.temperatures import RLKDOptions
from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Feedback, MixPlan, Observation, Situation, Temperatures
from rlkd_run.temperature.base import Policy, PolicySetting


class RLKD(Policy):
    """Hands each step to the agent and takes its temperatures, one an instance, equal for teacher and student.

    Raises:
        ConfigError: an epoch has a single step, so that no action would ever see its reward.
    """

    def __init__(self, options: RLKDOptions, setting: PolicySetting) -> None:  # noqa: ARG002
        config = setting.config
        if setting.steps_per_epoch < 2:
            raise ConfigError(
                f"temperature=rlkd needs at least two steps an epoch to see a reward: recipe.batch_size="
                f"{config.recipe.batch_size} takes all {setting.num_images} training images at once."
            )
        self.agent = Agent(
            config.agent,
            num_images=setting.num_images,
            num_classes=setting.num_classes,
            batch_size=config.recipe.batch_size,
            steps_per_epoch=setting.steps_per_epoch,
            epochs=config.recipe.epochs,
            seed=config.seed,
            device=setting.device,
        )

    def begin_epoch(self, epoch: int) -> MixPlan | None:
        """See `Policy.begin_epoch`; a plan in exploration epochs."""
        return self.agent.begin_epoch(epoch)

    def temperatures(self, observation: Observation) -> Temperatures:
        """The agent's choice, [B]."""
        return Temperatures.equal(self.agent.temperatures(observation))

    def observe(self, feedback: Feedback) -> None:
        """Some rewards are measured after the update."""
        self.agent.observe(feedback)

    def end_epoch(self) -> None:
        """Close the open rollout."""
        self.agent.end_epoch()

    @property
    def situation(self) -> Situation:
        """The agent's."""
        return self.agent.situation

    def restore(self, situation: Situation) -> None:
        """See `Policy.restore`."""
        self.agent.restore(situation)

    def metrics(self) -> dict[str, Tensor]:
        """The agent's, each name with the prefix ``agent_``."""
        return {f"agent_{name}": value for name, value in self.agent.metrics().items()}

    def state_dict(self) -> dict[str, Any]:
        """The whole agent."""
        return self.agent.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the whole agent."""
        self.agent.load_state_dict(dict(state))
