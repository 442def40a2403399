"""A sweep whose settings are not all run: what may be chosen, for a sampler to draw from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf

from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError

Setting = Mapping[str, Any]
"""A value for each key that is searched."""


@dataclass(frozen=True)
class Dimension:
    """The values of one key: `choices`, or everything from `low` to `high`.

    Attributes:
        choices: the only values; empty for an interval.
        low, high: ends of the interval, whole numbers if only those are meant.
        log: whether it is the logarithm that is drawn evenly.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @classmethod
    def of(cls, override: Override) -> Dimension:
        """What a swept override describes: ``a,b``, ``range(…)``, ``interval(…)``, ``tag(log, interval(…))``.

        Raises:
            ConfigError: nothing lies in the interval.
        """
        if not override.is_interval_sweep():
            return cls(choices=tuple(listed_values(override)))
        sweep = override.value()
        assert isinstance(sweep, IntervalSweep)
        assert sweep.start is not None
        assert sweep.end is not None
        log = "log" in sweep.tags
        if sweep.start >= sweep.end or (log and sweep.start <= 0):
            least = ", and above 0 where its logarithm is drawn" if log else ""
            raise ConfigError(f"{override.input_line}: an interval goes from less to more{least}.")
        return cls(low=sweep.start, high=sweep.end, log=log)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values whose validity makes that of the others likely: all choices, or both ends."""
        return self.choices or (self.low, self.high)


def listed_values(override: Override) -> Iterator[Any]:
    """The plain values of an override, one unless it is a sweep."""
    if not override.is_sweep_override():
        yield override.value()
        return
    parser = OverridesParser.create()
    for text in override.sweep_string_iterator():
        yield parser.parse_override(f"{override.key_or_group}={text}").value()


@dataclass(frozen=True)
class Search:
    """A search over settings, each of which is run under every seed of the command.

    Attributes:
        trials: settings to try.
        dimensions: by full key.
        settle: the runs of one setting; raises ConfigError where a value is not valid.
    """

    trials: int
    dimensions: dict[str, Dimension]
    settle: Callable[[Setting], list[RunConfig]]

    def corners(self) -> Iterator[Setting]:
        """Settings that together hold every end of every dimension."""
        first = {key: dimension.ends[0] for key, dimension in self.dimensions.items()}
        yield first
        for key, dimension in self.dimensions.items():
            yield from ({**first, key: end} for end in dimension.ends[1:])


def settled(base: DictConfig, setting: Setting, seeds: Sequence[Any]) -> Iterator[DictConfig]:
    """The composed configuration with the values of a setting, once for each seed; what follows a value follows it."""
    for seed in seeds:
        composed = copy.deepcopy(base)
        for key, value in {**setting, "seed": seed}.items():
            OmegaConf.update(composed, key, value, merge=False)
        yield composed
