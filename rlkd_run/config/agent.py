"""Options of the RL agent (`conf/agent/`): every switch of the method, of the authors' code, and ours."""

from __future__ import annotations

from dataclasses import dataclass

from rlkd_run.config.option import option

STATE_FEATURES = (
    "teacher_confidence",
    "student_confidence",
    "student_margin",
    "teacher_margin",
    "student_entropy",
    "teacher_entropy",
    "teacher_true_probability",
    "student_true_probability",
    "divergence",
    "progress",
)


@dataclass
class StateOptions:
    """What the agent sees of an instance (arXiv 2407.00115: confidence of both networks and the uncertainty score)."""

    features: list[str] = option("features of the state, in order", choices=STATE_FEATURES)
    margin: str = option(
        "margin = largest probability minus this one (second_smallest is the authors' code)",
        choices=("second_largest", "second_smallest"),
    )


@dataclass
class PPOOptions:
    """Proximal policy optimisation (arXiv 1707.06347)."""

    clip: float = option("half width of the band of the probability ratio", gt=0, lt=1)
    passes: int = option("gradient steps of actor and critic on each rollout", ge=1)
    entropy: float = option("weight of the entropy bonus", ge=0)
    discount: float = option("discount of the reward per step", ge=0, le=1)
    gae_lambda: float = option("lambda of generalised advantage estimation", ge=0, le=1)
    actor_lr: float = option("Adam learning rate of the actor", gt=0)
    critic_lr: float = option("Adam learning rate of the critic", gt=0)
    max_grad_norm: float = option("gradients are clipped to this norm", gt=0)


@dataclass
class CalibrationOptions:
    """Instance reward calibration: how a batch's reward is shared out among its instances."""

    kind: str = option(
        "lstm (decomposition in the manner of RUDDER), linear (authors' code), uniform, none (all get the whole)",
        choices=("lstm", "linear", "uniform", "none"),
    )
    hidden: int = option("hidden units of the sequence model", ge=1, le=65536)
    lr: float = option("Adam learning rate of the sequence model", gt=0)
    steps: int = option("gradient steps of the sequence model on each rollout", ge=1)
    auxiliary: float = option("weight of the prediction loss at every position, not only the last", ge=0)
    loss: str = option(
        "mean_of_squares, or square_of_mean as in the authors' code", choices=("mean_of_squares", "square_of_mean")
    )
    trust: str = option(
        "explained: shares are mixed with even ones by the part of the rewards' variance that the model explains, and "
        "what a place in the batch gets on average is spread evenly; whole: shares as the model gives them",
        choices=("explained", "whole"),
        neutral="explained",
    )
    reaches_ppo: bool = option("whether the shares replace the reward (in the authors' code they never reach PPO)")
    critical_mask: bool = option("learn a sigmoid mask of critical states that multiplies the states (authors' code)")
    sparsity: float = option("weight of the mask's sparsity penalty", ge=0)


@dataclass
class ExplorationOptions:
    """Efficient exploration: early agent epochs learn on high-quality instances, made by mix-up."""

    epochs: str = option(
        "early: agent-training epochs up to half of the run, but for its first epoch; code: all but the first; none",
        choices=("early", "code", "none"),
    )
    labels: str = option("mixed: both labels, weighted; low: label of the minority image", choices=("mixed", "low"))
    count_per_instance: bool = option("score uses how often each instance was seen (not in the authors' code)")
    high: list[float] = option("ranks of the high-score set, as fractions from the top", ge=0, le=1)
    low: list[float] = option("ranks of the low-score set, as fractions from the top", ge=0, le=1)
    weights: list[float] = option("share of the high image over the pairs, from first to last", ge=0, le=1)


@dataclass
class AgentOptions:
    """The agent that sets each instance's distillation temperature."""

    t_min: float = option("lowest temperature", ge=0)
    t_max: float = option("highest temperature", gt=0)
    mean_bound: float = option("the actor's mean is mean_bound * tanh(.)", gt=0)
    log_std_start: float = option("initial log standard deviation of the policy", ge=-20, le=20)
    hidden: int = option("units of the two hidden layers of actor and critic", ge=1, le=65536)
    act: str = option(
        "sample an action, or take the policy's mean but where the agent is trained", choices=("sample", "mean")
    )
    log_prob: str = option(
        "of the action before the squash, or of the temperature itself (authors' code)",
        choices=("latent", "temperature"),
    )
    time_axis: str = option(
        "steps: batch after batch; instances: one batch laid out as time (authors' code)",
        choices=("steps", "instances"),
    )
    rollout_steps: int = option("training steps in a rollout", ge=1, le=1_000_000)
    warmup_epochs: int = option("the agent sets the temperature from this epoch on", ge=1)
    warmup_temperature: float = option("temperature of every instance before that", gt=0)
    train_every: int = option("the agent is trained in epochs divisible by this", ge=1)
    reward: str = option(
        "accuracy: change of batch accuracy; macro_accuracy: averaged over classes; loss_drop: cross entropy on the "
        "same batch before minus after the update; probe: drop of cross entropy on images set aside",
        choices=("accuracy", "macro_accuracy", "loss_drop", "probe"),
    )
    reward_credit: str = option(
        "cause: to the actions that brought it about; late: one step later (authors' code)", choices=("cause", "late")
    )
    reward_scale: str = option(
        "running: centred by a running mean and divided by a running deviation; code: the authors' factor of the "
        "epoch; none",
        choices=("running", "code", "none"),
    )
    probe_images: int = option("training images set aside for reward=probe", ge=1)
    state: StateOptions = option("what the agent sees")
    ppo: PPOOptions = option("how the agent learns")
    calibration: CalibrationOptions = option("how the reward is shared out")
    exploration: ExplorationOptions = option("mixed images early in training")
