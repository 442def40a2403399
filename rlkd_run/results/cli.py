"""The command `rlkd-table`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rlkd_run import __version__
from rlkd_run.errors import ConfigError
from rlkd_run.results.report import read_report
from rlkd_run.results.status import status_report

_STDOUT = "-"

_DESCRIPTION = """\
Print the results of finished runs as a Markdown table beside the paper's numbers: mean and standard deviation over
seeds, best and last epoch. Runs are found at any depth below each FOLDER. What cannot be read or is not finished is
named on standard error and left out; the table appears all the same."""

_EPILOG = """\
examples:
  rlkd-table outputs                     every run below outputs/
  rlkd-table outputs/table1 --status how far a sweep has come
  rlkd-table outputs other/outputs       several folders in one table
  rlkd-table outputs --csv               CSV in place of Markdown, with top-5, seeds and images/s
  rlkd-table outputs --csv results.csv   the Markdown table, and the CSV in a file

exit codes: 0 a table was printed; 1 it could not be written; 2 a folder is missing or holds no finished run"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `rlkd-table`.

    Args:
        argv: arguments without the command's name; None takes those of the process.

    Returns:
        Exit code: 0, or 2 for a mistake of the user's, or 1 if the output could not be written.

    Raises:
        SystemExit: by argparse, after `--help` (0) or a wrong argument (2).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no ± shows a question mark; it is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            return _table(argv)
        finally:
            sys.stdout.flush()  # here, where a reader that has gone away can be dealt with
    except ConfigError as error:
        for problem in error.problems:
            print(f"rlkd-table: {problem}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        _give_up_stdout()
        if isinstance(error, BrokenPipeError):  # `rlkd-table … | head`: the reader has what it wanted
            return 0
        print(f"rlkd-table: the table cannot be written ({error.strerror}).", file=sys.stderr)
        return 1


def _table(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_intermixed_args(argv)
    folders: list[str] = arguments.folders
    target: str | None = arguments.csv
    if target is not None and os.path.isdir(target):
        # `--csv outputs`: argparse takes the folder for the file, and a folder can only be meant to be read.
        folders, target = [target, *folders], _STDOUT
    if not folders:
        parser.error("name at least one FOLDER with runs, such as `rlkd-table outputs`.")
    if arguments.status:
        print(status_report(folders))
        return 0
    report = read_report(folders)
    if target == _STDOUT:
        print(report.csv(), end="")
        return 0
    if target is not None:
        try:
            Path(target).write_text(report.csv(), encoding="utf-8", newline="")
        except OSError as error:
            raise ConfigError(f"{target} cannot be written ({error.strerror}).") from error
    print(report.markdown())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlkd-table",
        usage="%(prog)s [-h] [--version] [--status] [--csv [FILE]] FOLDER...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="*", help="a run's folder, or a folder with runs below")
    parser.add_argument(
        "--csv",
        nargs="?",
        const=_STDOUT,
        metavar="FILE",
        help="without FILE: print CSV in place of Markdown; with FILE: write the CSV there and print Markdown",
    )
    parser.add_argument(
        "--status", action="store_true", help="print where each run stands, also of a sweep that is under way"
    )
    parser.add_argument("--version", action="version", version=f"rlkd-run {__version__}")
    return parser


def _give_up_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not complain about it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
