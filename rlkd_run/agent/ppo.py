"""Proximal policy optimisation (arXiv 1707.06347) of the actor, and regression of the critic, on one rollout."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from rlkd_run.agent.actor_critic import Actor, Critic
from rlkd_run.config.agent import PPOOptions
from rlkd_run.optimizers import Adam

# Far outside any band; beyond it the norm of the gradient would overflow and leave NaN behind. Only the authors'
# log-probabilities, of temperatures many deviations off the mean, come anywhere near.
MAX_LOG_RATIO = 30.0


class Experience(NamedTuple):
    """What one update learns from; all but states [...], states [..., F].

    Attributes:
        states: inputs of actor and critic.
        actions: what the log-probability is taken of.
        log_probs: of the actions when they were taken.
        advantages: any scale; normalised in the update.
        returns: targets of the critic.
        mask: 1 for a real transition, 0 for padding.
    """

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor
    mask: Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x where mask is 1, 0-dim."""
    return (x * mask).sum() / mask.sum()


def normalise(x: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and (biased) standard deviation 1 over the entries whose mask is 1."""
    centred = x - masked_mean(x, mask)
    return centred / (masked_mean(centred.square(), mask).sqrt() + 1e-8)


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's objective per transition, to be maximised (arXiv 1707.06347, eq. 7).

    Its gradient is zero where the ratio has already left the band [1 - clip, 1 + clip] in the direction of the
    advantage's sign.
    """
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def adam(parameters: Any, lr: float) -> Adam:
    """Adam whose step counter lives with the parameters, so that a step reads nothing back to the host."""
    listed = list(parameters)
    optimizer = Adam(listed, lr=lr, fused=True, capturable=any(one.is_cuda for one in listed))
    optimizer._warned_capturable_if_run_uncaptured = True  # it may be captured, and need not be
    return optimizer


class PPO:
    """Optimisers of actor and critic and the update that uses them.

    Args:
        actor: the policy.
        critic: the value function.
        options: learning rates, clip, passes.
    """

    def __init__(self, actor: Actor, critic: Critic, options: PPOOptions) -> None:
        self.actor, self.critic, self.options = actor, critic, options
        self.actor_optimizer = adam(actor.parameters(), options.actor_lr)
        self.critic_optimizer = adam(critic.parameters(), options.critic_lr)

    @torch.enable_grad()
    def update(self, experience: Experience) -> dict[str, Tensor]:
        """Take `options.passes` gradient steps on the whole rollout, for actor and critic.

        Returns:
            actor_loss, critic_loss, clip_fraction, approx_kl: 0-dim, means over the passes.
        """
        states, actions, old_log_probs, advantages, returns, mask = experience
        advantages = normalise(advantages, mask)
        share = mask / mask.sum()  # a masked mean is then one product and one sum
        passes = []
        for _ in range(self.options.passes):
            log_ratio = self.actor.log_prob(actions, states) - old_log_probs
            ratio = log_ratio.clamp(max=MAX_LOG_RATIO).exp()
            actor_loss = -(clipped_surrogate(ratio, advantages, self.options.clip) * share).sum()
            if self.options.entropy:  # of a Gaussian: log std and a constant
                actor_loss = actor_loss - self.options.entropy * self.actor.log_std
            self._descend(self.actor, self.actor_optimizer, actor_loss)

            critic_loss = ((self.critic(states) - returns).square() * share).sum()
            self._descend(self.critic, self.critic_optimizer, critic_loss)

            with torch.no_grad():
                clipped = (((ratio - 1).abs() > self.options.clip) * share).sum()
                approx_kl = ((ratio - 1 - log_ratio) * share).sum()
                passes.append(torch.stack([actor_loss, critic_loss, clipped, approx_kl]))
        names = ("actor_loss", "critic_loss", "clip_fraction", "approx_kl")
        return dict(zip(names, torch.stack(passes).mean(dim=0).unbind(), strict=True))

    def _descend(self, module: torch.nn.Module, optimizer: Adam, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(module.parameters(), self.options.max_grad_norm)
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Both networks and both optimisers."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
