from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.results.cli import main

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
def outputs(run_folder: Write, result: Make) -> Path:
    return run_folder("a", result()).parent


def _command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlkd_run.results.cli", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, text=True, timeout=60, check=False, **streams)


def test_prints_markdown(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(outputs)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| pair ")
    assert out.endswith("in points.\n")
    assert err == ""


def test_csv_to_standard_output(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The second: argparse takes the folder for the FILE of --csv.
    for arguments in ([str(outputs), "--csv"], ["--csv", str(outputs)]):
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert out.startswith("task,dataset,pair,")
        assert out.count("\n") == 2
        assert err == ""


def test_csv_to_a_file_beside_the_table(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "table.csv"
    assert main([str(outputs), "--csv", str(file), str(outputs / "a")]) == 0
    assert capsys.readouterr().out.startswith("| pair ")
    assert file.read_text(encoding="utf-8").startswith("task,dataset,pair,")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{tmp}/none"], "rlkd-table: There is no folder {tmp}/none.\n"),
        (["{tmp}/empty"], "rlkd-table: No run folder in {tmp}/empty or below.\n"),
        (
            ["{tmp}/outputs", "--latex", "{tmp}/empty"],
            "rlkd-table: --latex {tmp}/empty: that is a folder, not a file to write; to print, put --latex behind all "
            "folders.\n",
        ),
        (
            ["{tmp}/outputs", "--csv", "{tmp}/none/x.csv"],
            "rlkd-table: {tmp}/none/x.csv cannot be written (No such file or directory).\n",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    arguments: list[str], sentence: str, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    assert capsys.readouterr() == ("", sentence.format(tmp=tmp_path))


@pytest.mark.parametrize("arguments", [[], ["--cvs", "x"], ["--csv", "none.csv"]])
def test_wrong_arguments_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: rlkd-table [options] FOLDER..." in capsys.readouterr().err


def test_the_commands_of_the_pages_work(
    run_folder: Write, result: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder("first", result())
    run_folder("table1", result())
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[2]
    text = "".join((root / page).read_text() for page in ("README.md", "docs/tables.md"))
    commands = re.findall(r"^ {4}rlkd-table ((?:--status )?outputs.*)$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        assert main(shlex.split(command, comments=True)) == 0, command
    assert {"page.html", "pictures", "table1.csv", "table1.tex"} <= {path.name for path in tmp_path.iterdir()}


def test_what_is_left_out_is_said_below_the_table(outputs: Path, status_folder: Write) -> None:
    status_folder("b", state="failed", message="it broke")
    both = _command(outputs, "--csv", stderr=subprocess.STDOUT)
    assert both.stdout.startswith("task,dataset,pair,")
    assert both.stdout.endswith("\n1 run not finished:\n  b  failed: it broke\n")


def test_forms_are_printed_one_at_a_time(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(outputs), "--csv", "--latex"])
    assert caught.value.code == 2
    assert "only one of --csv, --latex can be printed: give the others a FILE." in capsys.readouterr().err
    assert main([str(outputs), "--latex", "--csv", str(tmp_path / "x.csv")]) == 0
    assert capsys.readouterr().out.startswith("% Needs in the preamble")
    assert (tmp_path / "x.csv").read_text().startswith("task,dataset,pair,")


def test_only_unfinished_runs(status_folder: Write, capsys: pytest.CaptureFixture[str]) -> None:
    folder = status_folder("a", state="running", epoch=1, epochs=2)
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"1 run not finished:\n  {folder}  stopped: epoch 1 of 2\nrlkd-table: No finished run in {folder}.\n"
    )


def test_help_tells_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "FOLDER" in out
    assert "rlkd-table outputs --csv results.csv" in out
    # as test_mistakes_are_one_sentence_and_exit_2 and test_a_full_disk_is_one_sentence find it
    codes = " ".join(out.partition("exit codes: ")[2].split())
    assert codes == (
        "0 a table was printed; 1 it could not be printed; 2 a mistake in the command: a folder is missing or holds "
        "no finished run, or FILE or DIR cannot be written"
    )


def test_a_reader_that_goes_away_is_no_error(outputs: Path) -> None:
    for arguments in ([outputs], [outputs, "--csv"], ["--help"]):
        read, write = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "rlkd_run.results.cli", *map(str, arguments)]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(write)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(outputs: Path) -> None:
    command = [sys.executable, "-m", "rlkd_run.results.cli", str(outputs)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    expected = "rlkd-table: the table cannot be written (No space left on device).\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_a_terminal_without_the_signs(outputs: Path) -> None:
    done = _command(outputs, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("| pair ")


@pytest.mark.parametrize("name", ["a$x_{$", "\udcff"], ids=["dollars", "not-utf8"])
def test_every_form_of_a_path_with_odd_signs(name: str, outputs: Path, run_folder: Write, result: Make) -> None:
    run_folder("b", result({"config.teacher.checkpoint": f"/{name}/t.pth", "identity.cell": "b"}))
    forms = [argument for form in ("csv", "latex", "html") for argument in (f"--{form}", f"table.{form}")]
    done = _command(outputs, *forms, "--plots", "pictures", cwd=outputs.parent)
    assert (done.returncode, done.stderr) == (0, "2 pictures in pictures\n")
    shown = name.replace("\udcff", "?")
    for text in (done.stdout, *((outputs.parent / f"table.{form}").read_text("utf-8") for form in ("csv", "html"))):
        assert f"teacher.checkpoint=/{shown}/t.pth" in text


def test_imports_neither_torch_nor_pandas(outputs: Path) -> None:
    code = (
        "import sys; from rlkd_run.results.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'pandas', 'numpy', 'omegaconf', 'hydra'} & set(sys.modules); "
        "sys.exit(f'{heavy} imported' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(outputs)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
