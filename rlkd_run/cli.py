"""The command ``rlkd-run``: compose, check, and only then import what trains."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from rlkd_run import __version__
from rlkd_run.errors import ConfigError, Interrupted, RunError
from rlkd_run.files import DISK_FULL
from rlkd_run.help import help_page
from rlkd_run.interrupt import COMMANDS_STOPS, answered_by, stop_at_once
from rlkd_run.output import expendable_output, let_go_of_lost_readers, ready_streams


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Console script. Exits with 0, 1 (a run failed), 2 (a mistake of the user's) or 128 + signal."""
    ready_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with answered_by(stop_at_once, COMMANDS_STOPS):
        code = exit_code(lambda: _run(arguments))
    sys.exit(code)


def exit_code(work: Callable[[], int]) -> int:
    """Run `work`; an expected way to fail becomes one sentence on standard error and its exit code."""
    sentences: list[str] = []
    try:
        code = work()
        sys.stdout.flush()
    except ConfigError as error:
        sentences, code = error.problems, error.exit_code
    except RunError as error:
        sentences, code = [str(error)], error.exit_code
    except Interrupted as error:
        sentences, code = [f"{error}; the same command goes on from here"], error.exit_code
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # `rlkd-run --help | head`: the reader has seen enough
        code = 0
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        sentences, code = [f"the output cannot be written ({error.strerror})."], RunError.exit_code
    with suppress(OSError):  # nobody reads them
        for sentence in sentences:
            print(f"rlkd-run: {sentence}", file=sys.stderr)
    let_go_of_lost_readers()
    return code


def _run(arguments: list[str]) -> int:
    if "--version" in arguments:
        print(f"rlkd-run {__version__}")
        return 0
    # Hydra is imported here: `import rlkd_run.cli` stays free, and so does a broken pipe at its import.
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.prog = "rlkd-run"
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="import a module of your own")
    options, unknown = parser.parse_known_intermixed_args(arguments)  # flags may stand between overrides
    if unknown:
        raise ConfigError(
            f"{unknown[0]} is not a flag; options are set without dashes, KEY=VALUE, e.g. recipe.epochs=10."
        )
    from rlkd_run.config.composition import compose_command
    from rlkd_run.config.shipped import config_folder

    if options.help:
        print(help_page([config_folder(), *([Path(options.config_dir)] if options.config_dir else [])]))
        return 0
    if options.hydra_help or options.info or options.shell_completion:
        return _leave_to_hydra([*_flags(arguments, options), *options.overrides])
    command = compose_command(
        options.overrides,
        config_dirs=[options.config_dir] if options.config_dir else [],
        plugins=options.plugin,
        multirun=options.multirun,
    )
    if options.cfg:
        from rlkd_run.show import show

        show(command, options.cfg, package=options.package, resolve=options.resolve)
        return 0
    with expendable_output():
        if command.note is not None:
            print(f"note      {command.note}", flush=True)
        if command.is_sweep:
            from rlkd_run.sweep import run_sweep

            return run_sweep(command)
        from rlkd_run.launch import start

        start(command.runs[0], images=command.images)
        return 0


def _flags(arguments: list[str], options: argparse.Namespace) -> list[str]:
    """What remains for Hydra when the overrides and our own flag are taken away."""
    own = {"--plugin", *(f"--plugin={module}" for module in options.plugin), *options.plugin}
    return [text for text in arguments if text not in own and text not in options.overrides]


def _leave_to_hydra(arguments: list[str]) -> int:
    """Hydra's help, its facts about itself and completion are its own."""
    import hydra

    from rlkd_run.config.composition import register_resolvers
    from rlkd_run.config.shipped import config_folder

    register_resolvers()
    previous, sys.argv = sys.argv, ["rlkd-run", *arguments]
    try:
        hydra.main(config_path=str(config_folder()), config_name="config", version_base="1.3")(_nothing)()
    finally:
        sys.argv = previous
    return 0


def _nothing(config: object) -> None:
    """Never called: Hydra answers by itself."""
