"""What ``rlkd-run … --cfg`` prints: the composed configuration, or one part of it.

Hydra prints the same, but knows no sweep without ``-m``, and answers a part that does not exist in words of its own.
"""

from __future__ import annotations

import sys

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlkd_run.config.composition import Command, compose_first
from rlkd_run.config.overrides import nearest_key, option_keys
from rlkd_run.errors import ConfigError, in_a_line


def show(command: Command, kind: str, *, package: str | None, resolve: bool) -> None:
    """Print the configuration of a command's first job as yaml, and say aloud if there are more.

    Args:
        command: what was typed.
        kind: job, hydra (Hydra's own keys), or all of both.
        package: the key of the part that is wanted; None or ``_global_``: everything.
        resolve: print what interpolations come to, not how they are written.

    Raises:
        ConfigError: there is no such part, or an interpolation leads nowhere.
    """
    config = compose_first(command)
    if resolve:
        try:
            OmegaConf.resolve(config)
        except OmegaConfBaseException as error:
            raise ConfigError(f"--resolve: {in_a_line(error)}.") from error
    part = _part(_of_kind(config, kind), package)
    if command.search is not None:
        tried = ", ".join(command.search.dimensions)
        _tell(f"a search starts from this; its {command.search.trials} trials set {tried}.")
    elif len(command.runs) > 1:
        _tell(f"this is the first of {len(command.runs)} jobs.")
    print(part, end="")


def _tell(sentence: str) -> None:
    print(f"rlkd-run: {sentence}", file=sys.stderr)


def _of_kind(config: DictConfig, kind: str) -> DictConfig:
    own = [str(key) for key in config if key != "hydra"]
    if kind == "job":
        return OmegaConf.masked_copy(config, own)
    if kind == "all":
        return config
    shown = OmegaConf.masked_copy(config, ["hydra"])
    OmegaConf.set_readonly(shown.hydra, False)
    OmegaConf.set_struct(shown.hydra, False)
    for page in ("help", "hydra_help"):  # long texts, which nobody asks for here
        shown.hydra.pop(page)
    return shown


def _part(config: DictConfig, package: str | None) -> str:
    if package is None or package == "_global_":
        return OmegaConf.to_yaml(config)
    keys = option_keys(config)
    if package not in keys:
        raise ConfigError(f"--package {package} is not in the configuration; {nearest_key(package, keys)}")
    part = OmegaConf.select(config, package)
    if OmegaConf.is_config(part):
        return f"# @package {package}\n{OmegaConf.to_yaml(part)}"
    return f"{'null' if part is None else part}\n"
