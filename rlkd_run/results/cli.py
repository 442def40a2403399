"""The command `rlkd-table`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rlkd_run import __version__
from rlkd_run.errors import ConfigError
from rlkd_run.output import let_go_of_lost_readers, ready_streams
from rlkd_run.results.notices import tell_on_stderr
from rlkd_run.results.report import Report, View, read_report
from rlkd_run.results.selection import Condition
from rlkd_run.results.status_report import status_report

_STDOUT = "-"

_FORMS: dict[str, Callable[[Report], str]] = {
    "csv": lambda report: report.csv().rstrip("\n"),
    "latex": Report.latex,
    "html": Report.html,
}
_HELP = {
    "csv": "every figure, one row a setting",
    "latex": "tables with booktabs rules",
    "html": "one page with tables that can be sorted, pictures, configurations and environments",
}

_DESCRIPTION = """\
Print the results of finished runs as a Markdown table beside the paper's numbers: mean and standard deviation over
seeds, best and last epoch. Runs are found at any depth below each FOLDER. What cannot be read or is not finished is
named on standard error, below the table, and left out; the table appears all the same."""

_EPILOG = """\
examples:
  rlkd-table outputs                            every run below outputs/
  rlkd-table outputs/table1 --status            how far a sweep has come
  rlkd-table outputs other/outputs              several folders in one table
  rlkd-table outputs --where method=kd,dkd      some of the runs
  rlkd-table outputs --group-by recipe.epochs   tables of their own for every number of epochs
  rlkd-table outputs --csv results.csv          the Markdown table, and the CSV in a file
  rlkd-table outputs --html page.html --plots pictures

exit codes: 0 a table was printed; 1 it could not be printed; 2 a mistake in the command: a folder is missing or holds
no finished run, or FILE or DIR cannot be written"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `rlkd-table`.

    Args:
        argv: arguments without the command's name; None takes those of the process.

    Returns:
        Exit code: 0, or 2 for a mistake of the user's (files that cannot be written among them), or 1 if what is
        printed could not be.

    Raises:
        SystemExit: by argparse, after `--help` (0) or a wrong argument (2).
    """
    ready_streams()
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
        let_go_of_lost_readers()
        if isinstance(error, BrokenPipeError):  # `rlkd-table … | head`: the reader has what it wanted
            return 0
        print(f"rlkd-table: the table cannot be written ({error.strerror}).", file=sys.stderr)
        return 1


def _table(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_intermixed_args(argv)
    folders: list[str] = arguments.folders
    targets: dict[str, str] = {}
    for form in _FORMS:
        target = getattr(arguments, form)
        if target is not None and os.path.isdir(target):
            # `--csv outputs`: argparse takes the folder for the file, and a folder can only be meant to be read.
            if folders:  # or, beside others, for what is to be written there
                raise ConfigError(
                    f"--{form} {target}: that is a folder, not a file to write; to print, put --{form} behind all "
                    "folders."
                )
            folders, target = [target], _STDOUT
        if target is not None:
            targets[form] = target
    if not folders:
        parser.error("name at least one FOLDER with runs, such as `rlkd-table outputs`.")
    if arguments.status:
        unread = [name for name in ("where", "group_by", "plots") if getattr(arguments, name)] + list(targets)
        if unread:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in unread)
            parser.error(f"--status tells of all runs below the folders, in words: leave out {flags}.")
        print(status_report(folders))
        return 0
    printed = [form for form, target in targets.items() if target == _STDOUT]
    if len(printed) > 1:
        parser.error(
            f"only one of {', '.join(f'--{form}' for form in printed)} can be printed: give the others a FILE."
        )
    view = View(
        layout=arguments.layout,
        select=arguments.select,
        whole=arguments.whole,
        where=tuple(map(Condition.parse, arguments.where)),
        group_by=arguments.group_by,
    )
    told: list[str] = []
    try:
        report = read_report(folders, view, tell=told.append)
        if arguments.plots is not None:
            files = report.plots(Path(arguments.plots))
            told.append(f"{len(files)} pictures in {arguments.plots}")
        for form, target in targets.items():
            if target != _STDOUT:
                _write(Path(target), _FORMS[form](report))
        print(_FORMS[printed[0]](report) if printed else report.markdown(), flush=True)
    finally:  # below the table, where both are on a terminal
        for notice in dict.fromkeys(told):  # the page and the pictures may both have something to say of a file
            tell_on_stderr(notice)
    return 0


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(f"{text}\n", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({error.strerror}).") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlkd-table",
        usage="%(prog)s [options] FOLDER...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="*", help="a run's folder, or a folder with runs below")
    which = parser.add_argument_group("which runs")
    which.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only runs with it, such as method=kd, seed=0,1,2 or recipe.epochs=240; may be repeated",
    )
    parser.add_argument(
        "--status", action="store_true", help="print where each run stands, also of a sweep that is under way"
    )
    which.add_argument("--group-by", metavar="KEY", help="tables of their own for every value, such as method")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--layout",
        choices=("auto", "paper", "list"),
        default="auto",
        help="paper: pairs in columns, methods in rows; list: a row for every setting; auto (default): paper for a "
        "data set with several pairs",
    )
    how.add_argument("--whole", action="store_true", help="show the pairs of the paper that were not run as well")
    how.add_argument(
        "--select",
        choices=("best", "last"),
        default="best",
        help="which epoch is compared (default: best on the test set, which is what the paper reports)",
    )
    forms = parser.add_argument_group("forms", "without FILE they are printed in place of Markdown")
    for form in _FORMS:
        forms.add_argument(f"--{form}", nargs="?", const=_STDOUT, metavar="FILE", help=_HELP[form])
    forms.add_argument("--plots", metavar="DIR", help="pictures, each as PNG and SVG, written to this folder")
    parser.add_argument("--version", action="version", version=f"rlkd-run {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
