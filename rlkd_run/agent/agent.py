"""The agent, put together: see a batch, set its temperatures, learn from what became of the student.

    epoch      begin_epoch -> (temperatures -> student's update -> observe) for every batch -> end_epoch
    a step     logits -> state [B, F] -> actor -> action z -> temperature T [B]
    a rollout  H steps -> calibrated rewards -> advantages along time -> PPO

Time runs from batch to batch: the B instances act side by side, like parallel environments in PPO, and a rollout is H
consecutive batches. Nothing in a step waits for the device; how full a rollout is, and whether a reward exists, are
known to Python.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from rlkd_run.agent.actor_critic import Actor, Critic, squash
from rlkd_run.agent.calibration import Calibrator, last_of
from rlkd_run.agent.exploration import InstanceScores, explores, mix_plan
from rlkd_run.agent.meters import EpochMeters
from rlkd_run.agent.ppo import PPO, Experience
from rlkd_run.agent.returns import advantages, returns_to_go
from rlkd_run.agent.reward import BatchReward, RunningMoments, epoch_factor
from rlkd_run.agent.rollout import Rollout, Transitions
from rlkd_run.agent.state import Beliefs, StateFeatures
from rlkd_run.borrowed_stream import borrowed_stream
from rlkd_run.config.agent import AgentOptions
from rlkd_run.protocol import Feedback, MixPlan, Observation, Situation
from rlkd_run.seeding import derive_seed


class Agent:
    """RLKD's agent (arXiv 2407.00115).

    Args:
        options: every switch, already validated.
        num_images: N, size of the training set.
        num_classes: C.
        batch_size: B, of a full batch.
        steps_per_epoch: batches an epoch.
        epochs: E.
        seed: of the run; the agent's streams are derived from it.
        device: where logits arrive and everything here lives.
    """

    def __init__(
        self,
        options: AgentOptions,
        *,
        num_images: int,
        num_classes: int,
        batch_size: int,
        steps_per_epoch: int,
        epochs: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.options = options
        self.batch_size, self.steps_per_epoch, self.epochs = batch_size, steps_per_epoch, epochs
        self.seed, self.device = seed, device

        self.features = StateFeatures(options.state.features, options.state.margin, num_classes)
        with borrowed_stream(derive_seed(seed, "agent", "weights")):
            self.actor = Actor(len(self.features), options.hidden, options.mean_bound, options.log_std_start).to(device)
            self.critic = Critic(len(self.features), options.hidden).to(device)
            self.calibrator = Calibrator(options.calibration, len(self.features), device)

        self.ppo = PPO(self.actor, self.critic, options.ppo)
        self.rollout = Rollout(options.rollout_steps, batch_size, len(self.features), device)
        self.reward = BatchReward(options.reward, options.reward_credit, device)
        self.moments = RunningMoments(device)
        self.scores = InstanceScores(num_images, options.exploration.count_per_instance, device)
        self.meters = EpochMeters(device)
        self.noise = torch.zeros(steps_per_epoch, batch_size, device=device)  # of all actions of an epoch
        self.progress = torch.zeros((), device=device)  # e / E
        self.factor = torch.ones((), device=device)  # of the reward, in the authors' code
        self._set_epoch(0)
        self.epoch_open = False
        self.mix_plan: MixPlan | None = None

    # --- the epoch ----------------------------------------------------------------------------------------------------

    @property
    def acting(self) -> bool:
        """Whether the agent sets the temperature in this epoch."""
        return self.epoch >= self.options.warmup_epochs

    @property
    def training(self) -> bool:
        """Whether the agent is trained in this epoch."""
        return self.acting and self.epoch % self.options.train_every == 0

    @property
    def sampling(self) -> bool:
        """Whether actions are sampled in this epoch: from the mean itself nobody learns where to move it."""
        return self.acting and (self.training or self.options.act == "sample")

    def begin_epoch(self, epoch: int) -> MixPlan | None:
        """Decide what the agent does in an epoch, and draw its action noise.

        Called again for an epoch that is already open (after a resume in its middle) it changes nothing.

        Args:
            epoch: from 1.

        Returns:
            Which images the loader replaces by mixtures; None in an ordinary epoch.
        """
        if self.epoch_open and epoch == self.epoch:
            return self.mix_plan
        self._set_epoch(epoch)
        self.epoch_open = True
        self.meters.begin_epoch()
        self.reward.begin_epoch()
        self.rollout.clear()
        self._draw_noise()
        self.mix_plan = self._plan_mixing() if self.training and epoch > 1 else None
        return self.mix_plan

    def _set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.progress.fill_(epoch / self.epochs)
        self.factor.fill_(epoch_factor(epoch))

    def _draw_noise(self) -> None:
        """Standard normal noise of all actions of this epoch, [steps, B]: a function of seed and epoch alone.

        Drawn on the CPU, so that every device sees the same, and at once, so that a resume can redraw it.
        """
        if not self.sampling:
            return
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "agent-noise", self.epoch))
        self.noise.copy_(torch.randn(self.steps_per_epoch, self.batch_size, generator=generator))

    def _plan_mixing(self) -> MixPlan | None:
        every = self.options.train_every
        first = -(-self.options.warmup_epochs // every) * every  # the first multiple not before the warm-up's end
        if not explores(self.options.exploration.epochs, self.epoch, self.epochs, first):
            return None
        return mix_plan(self.scores.scores(), self.options.exploration)

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Close the open rollout: a step without reward is dropped, nothing follows the last one (bootstrap 0)."""
        self.rollout.discard()
        if self.rollout.rewarded:
            nothing = torch.zeros(self.batch_size, device=self.device)
            with torch.autocast(self.device.type, enabled=False):
                self._learn(nothing[:, None].expand(-1, len(self.features)), nothing)
        self.epoch_open = False
        self.mix_plan = None

    # --- the step -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def temperatures(self, observation: Observation) -> Tensor:
        """Set the temperature of each instance of a batch, before the student's update on it.

        In a training epoch this also completes the reward of the step before and, when H steps are complete, learns
        from them before it acts again.

        Args:
            observation: of a batch of b <= B instances.

        Returns:
            [b] float32, no graph.
        """
        with torch.autocast(self.device.type, enabled=False):
            return self._temperatures(observation)

    def _temperatures(self, observation: Observation) -> Tensor:
        teacher, student = observation.raw or (observation.teacher_logits, observation.student_logits)
        beliefs = Beliefs(teacher, student, observation.target, self.progress)
        mix = observation.mix
        if self.options.exploration.epochs != "none":
            self.scores.update(observation.index, beliefs.student_entropy, None if mix is None else mix.mixed)
        size = observation.target.shape[0]
        if not self.acting:
            return torch.full((size,), self.options.warmup_temperature, device=self.device)

        states = self.features(beliefs)
        if self.training:
            self._settle(self.reward.before_update(beliefs.student_logits, observation.target, mix))
            if self.rollout.full:
                padding = (0, self.batch_size - size)
                self._learn(F.pad(states, (0, 0, *padding)), F.pad(torch.ones_like(states[:, 0]), padding))

        actions = self.actor(self._policy_inputs(states))
        self.meters.act(self.actor.at_bound(actions))
        if self.sampling:
            actions = actions + self.actor.log_std.exp() * observation.row_of(self.noise)
        if self.training:
            self.rollout.store(states, actions)
        return squash(actions, self.options.t_min, self.options.t_max)

    @torch.no_grad()
    def observe(self, feedback: Feedback) -> None:
        """Look at the student after its update on the batch; only the rewards loss_drop and probe need it."""
        if self.training and not self.reward.comes_with_next_batch:
            with torch.autocast(self.device.type, enabled=False):
                self._settle(self.reward.after_update(feedback))

    def _settle(self, reward: Tensor | None) -> None:
        """Give the step that waits for it its reward; a step that turns out to have none is forgotten."""
        if not self.rollout.waiting:
            return
        if reward is None:
            self.rollout.discard()
        else:
            self.rollout.reward(reward)

    # --- learning -----------------------------------------------------------------------------------------------------

    def _learn(self, next_states: Tensor, next_mask: Tensor) -> None:
        """One update of calibration, actor and critic on the rollout, which is empty afterwards.

        Nothing that acted has changed since the first step of the rollout, so values and log-probabilities of the
        actions are computed here, in one go, rather than in each step.

        Args:
            next_states: of the batch that follows the rollout, padded, [B, F].
            next_mask: 1 where that batch has an instance, [B]; 0 everywhere at the end of an epoch.
        """
        options, ppo = self.options, self.options.ppo
        transitions = self.rollout.transitions()
        mask = transitions.mask
        inputs = self._policy_inputs(transitions.states)
        taken = transitions.actions
        if options.log_prob == "temperature":
            taken = squash(taken, options.t_min, options.t_max)
        log_probs = self.actor.log_prob(taken, inputs)
        values = self.critic(inputs) * mask
        bootstrap = self.critic(self._policy_inputs(next_states)) * next_mask

        rewards, losses = self._instance_rewards(transitions)
        if options.time_axis == "steps":
            gains = advantages(rewards, values, bootstrap, ppo.discount, ppo.gae_lambda)
            returns = gains + values
        else:
            gains, returns = self._along_instances(rewards, values, mask)
            inputs = self.calibrator.masked(transitions.states)  # masked for the update, not for acting
        losses |= self.ppo.update(Experience(inputs, taken, log_probs, gains, returns, mask))
        self.meters.update(transitions.rewards, losses)
        self.rollout.clear()

    def _policy_inputs(self, states: Tensor) -> Tensor:
        """What actor and critic see of states [..., F]; the authors' code masks only what they are trained on."""
        return self.calibrator.masked(states) if self.options.time_axis == "steps" else states

    def _instance_rewards(self, transitions: Transitions) -> tuple[Tensor, dict[str, Tensor]]:
        """Fit the calibration and turn batch rewards into one for each instance.

        Returns:
            [n, B], whose mean over a batch is the scaled reward of the batch; and what there is to note of the
            calibration.
        """
        states, actions, mask, rewards = transitions
        self.moments.update(rewards)
        mean, std = self.moments.mean, self.moments.std
        scaled_actions = 2 * actions.sigmoid() - 1
        loss = self.calibrator.fit(states, scaled_actions, (rewards - mean) / std, mask)
        noted = {} if loss is None else {"calibration_loss": loss}
        if self.calibrator.decomposes:
            shares, trust = self.calibrator.shares(states, scaled_actions, rewards, mask, mean, std)
            noted |= trust
            credited = shares * mask.sum(dim=1, keepdim=True)
        else:
            credited = rewards[:, None].expand_as(mask)
        if self.options.reward_scale == "running":
            credited = (credited - mean) / std
        elif self.options.reward_scale == "code":
            credited = credited * self.factor
        return credited * mask, noted

    def _along_instances(self, rewards: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages and returns when the instances of a batch pose as its time steps (authors' code), [n, B] each.

        Unless calibrated shares reach PPO, the reward stands on the last instance. What follows the last instance is
        taken to be worth as much as the last instance itself.
        """
        ppo = self.options.ppo
        last = last_of(mask)
        in_time = rewards / mask.sum(dim=1, keepdim=True) if self.calibrator.decomposes else rewards * last
        in_time = (in_time + ppo.discount * values * last).T
        gains = advantages(in_time, values.T, torch.zeros_like(in_time[0]), ppo.discount, ppo.gae_lambda)
        return gains.T, returns_to_go(in_time, ppo.discount).T

    # --- what Python knows --------------------------------------------------------------------------------------------

    @property
    def situation(self) -> Situation:
        """How full the rollout is and which measurements exist; and how many updates there were."""
        key = (self.acting, self.training, self.rollout.filling, self.reward.measured)
        return Situation(key, (self.meters.updates, self.meters.rewards))

    def restore(self, situation: Situation) -> None:
        """Take over what `situation` gave, within the same epoch."""
        _, _, self.rollout.filling, self.reward.measured = cast(tuple[Any, ...], situation.key)
        self.meters.updates, self.meters.rewards = situation.counts

    # --- what is shown and kept ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def metrics(self) -> dict[str, Tensor]:
        """Means over the epoch so far, 0-dim tensors on the device; produced without waiting for it.

        updates: how many. action_std: the policy's standard deviation before the squash. Where the agent acts,
        saturated: share of the instances whose mean lies at an end of its range. In training epochs, once
        there was an update: reward (raw, a batch), actor_loss, critic_loss, clip_fraction, approx_kl and, where a
        calibration is learnt, calibration_loss and, where shares reach PPO, calibration_trust: the part of the
        rewards' variance that it explains.
        """
        acting = {"saturated": self.meters.saturated()} if self.acting else {}
        return {**self.meters.means(), **acting, "action_std": self.actor.log_std.exp()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the agent goes on, at any point between two steps.

        Tensors, numbers and strings only; tensors are live ones: copy or write them before the next step.
        """
        plan = self.mix_plan
        return {
            "ppo": self.ppo.state_dict(),
            "calibrator": self.calibrator.state_dict(),
            "rollout": self.rollout.state_dict(),
            "reward": self.reward.state_dict(),
            "moments": self.moments.state_dict(),
            "scores": self.scores.state_dict(),
            "meters": self.meters.state_dict(),
            "epoch": self.epoch,
            "epoch_open": self.epoch_open,
            "mix_plan": {} if plan is None else plan._asdict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, into an agent that was made with the same arguments.

        In the middle of an epoch the agent goes on as if nothing had happened: `mix_plan` is the epoch's plan again,
        and its action noise is redrawn.
        """
        state = copy.deepcopy(state)  # an optimiser would go on working on the caller's tensors
        self.ppo.load_state_dict(state["ppo"])
        self.calibrator.load_state_dict(state["calibrator"])
        self.rollout.load_state_dict(state["rollout"])
        self.reward.load_state_dict(state["reward"])
        self.moments.load_state_dict(state["moments"])
        self.scores.load_state_dict(state["scores"])
        self.meters.load_state_dict(state["meters"])
        self._set_epoch(state["epoch"])
        self.epoch_open = state["epoch_open"]
        plan = state["mix_plan"]
        self.mix_plan = MixPlan(**plan).to(self.device) if plan else None
        self._draw_noise()
