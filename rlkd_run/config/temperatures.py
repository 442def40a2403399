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
