"""Weights & Biases as a further place for the rows of ``metrics.csv``; imported only when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import wandb
import yaml

from rlkd_run.config.identity import short_hash
from rlkd_run.config.run import RuntimeOptions
from rlkd_run.errors import ConfigError, in_a_line


class WandbLog:
    """A run of Weights & Biases beside ours, from ``with`` to its end.

    It is called as the run folder is, so that a resumed run goes on in the same place. Offline, each sitting leaves a
    folder of its own under ``wandb/``, and ``wandb sync`` puts them together.

    Args:
        folder: of the run; holds its ``config.yaml``.
        options: project and mode.

    Raises:
        ConfigError: on entry: there is no such project or account, or no connection.
    """

    def __init__(self, folder: Path, options: RuntimeOptions) -> None:
        self._folder = folder
        self._options = options

    def __enter__(self) -> WandbLog:
        config = yaml.safe_load((self._folder / "config.yaml").read_text())
        online = self._options.wandb_mode == "online"
        name, series = self._folder.name, config["series"]
        try:
            self._run = wandb.init(
                project=self._options.wandb,
                # The same run in another series is done anew there, and is no continuation of the first.
                id=name if series == "runs" else f"{name}-{short_hash(series)[:4]}",
                name=name,
                group=series,
                config=config,
                dir=str(self._folder),
                mode="online" if online else "offline",
                resume="allow" if online else None,
                settings=wandb.Settings(silent=True, console="off", save_code=False),
            )
        except wandb.Error as error:
            raise ConfigError(
                f"runtime.wandb={self._options.wandb}: {in_a_line(error)} "
                "(runtime.wandb_mode=offline needs no account)."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run.finish(exit_code=0 if error is None else 1)

    def log(self, row: Mapping[str, Any]) -> None:
        """Write one epoch's row; what is not finite is left out."""
        self._run.log({name: value for name, value in row.items() if math.isfinite(value)}, step=row["epoch"])
