"""What a command composes to, or is refused with."""

from __future__ import annotations

import pytest

from rlkd_run.config.composition import compose_command
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError


def only(*overrides: str) -> RunConfig:
    """Its one run."""
    (run,) = compose_command(overrides).runs
    return run


def problems_of(*overrides: str, **options: object) -> list[str]:
    """The sentences with which it is refused; `options` as in `compose_command`."""
    with pytest.raises(ConfigError) as caught:
        compose_command(overrides, **options)  # type: ignore[arg-type]
    return caught.value.problems
