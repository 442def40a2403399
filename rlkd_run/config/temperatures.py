"""Options of the temperature policies (`conf/temperature/`)."""

from __future__ import annotations

from dataclasses import dataclass

from rlkd_run.config.option import option


@dataclass
class FixedOptions:
    """One constant temperature."""

    name: str = option("which policy: a registered name")
    value: float = option("the temperature", gt=0)


@dataclass
class RLKDOptions:
    """RLKD's agent chooses; its options are the group `agent`."""

    name: str = option("which policy: a registered name")


@dataclass
class RandomOptions:
    """Random temperatures, the control for RLKD; range, warm-up and spread are those of the group `agent`."""

    name: str = option("which policy: a registered name")
    law: str = option(
        "policy_init: the law of the agent before it has learnt; uniform over its range",
        choices=("policy_init", "uniform"),
    )


@dataclass
class ScheduleOptions:
    """One temperature for all instances that moves with the epochs."""

    name: str = option("which policy: a registered name")
    start: float = option("temperature of epoch 1", gt=0)
    end: float = option("temperature from epoch `epochs` on", gt=0)
    epochs: int = option("epochs from start to end", ge=1)


@dataclass
class CTKDOptions:
    """Curriculum temperature (arXiv 2211.16231): learnt against the student."""

    name: str = option("which policy: a registered name")
    t_start: float = option("lower end of the temperatures", gt=0)
    t_range: float = option("width of the temperatures: their upper end is t_start + t_range", ge=0)
    initial: float = option("the learnt value before its sigmoid, at the start; 1 makes T = t_start + 0.73 t_range")
    strength: float = option("the student's gradient is reversed and multiplied by this in the end", ge=0)
    loops: int = option("epochs over which the reversed gradient grows from 0", ge=1)


@dataclass
class CTKDInstanceOptions(CTKDOptions):
    """Curriculum temperature for every instance; the width is ours, the authors published none."""

    hidden: int = option("units of the hidden layer", ge=1)


@dataclass
class DTKDPolicyOptions:
    """Dynamic temperatures (arXiv 2404.12711): closed form, one for each network and instance."""

    name: str = option("which policy: a registered name")
    tau: float = option("mean of both temperatures", gt=0)
    floor: float = option("largest logits below this count as this; where one is not positive, T has no meaning", gt=0)


@dataclass
class StdOptions:
    """Temperatures by the spread of the logits (after LSKD, arXiv 2403.01732), one for each network and instance."""

    name: str = option("which policy: a registered name")
    base: float = option("the temperature is this many standard deviations of the logits", gt=0)
    floor: float = option("standard deviations below this count as this", gt=0)
