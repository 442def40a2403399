from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.results.latex import escaped, latex
from rlkd_run.results.report import View, read_report
from rlkd_run.results.selection import Condition
from rlkd_run.results.table import Head, Row, Table

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


@pytest.fixture
def runs(run_folder: Write, result: Make, teacher_result: Make, tmp_path: Path) -> Path:
    run_folder("0", result({"student.top1.best": 60.0}))
    run_folder("1", result({"student.top1.best": 60.1}, seed=1))
    run_folder("2", result({"teacher.name": "wrn_40_2", "epochs": 20}, temperature="rlkd", agent="paper"))
    run_folder("3", result({"student.name": "50%_of_{x}&y$z#^~<|>\\é→"}, dataset="digits"))
    printable = "".join(sign for sign in map(chr, range(0x20, 0x100)) if sign.isprintable())
    run_folder("4", teacher_result({"teacher.name": printable}))
    return tmp_path / "outputs"


def test_one_float_a_table(runs: Path) -> None:
    text = read_report([runs], View(layout="paper")).latex()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\bottomrule") == 3
    assert (
        r"method & \shortstack[r]{resnet56 \\[1pt] resnet20} & \shortstack[r]{wrn\_40\_2 \\[1pt] resnet20} \\" in text
    )
    assert r"kd & 60.05 $\pm$ 0.07 (2) &  \\" in text
    assert r"\quad $\Delta$ & $-$10.61 \ddag{} &  \\" in text
    assert r"\caption{Teachers. Top-1 test accuracy" in text


def test_the_pairs_of_a_wide_table_are_dealt_out_to_several(runs: Path) -> None:
    view = View(layout="paper", whole=True, where=(Condition.parse("dataset=cifar100"),))
    report = read_report([runs], view)
    whole = next(table for table in report.tables() if table.spread)
    heads = [line for line in report.latex().splitlines() if line.startswith("method &")]
    assert len(heads) > 2
    pairs = [head.count("&") for head in heads]
    assert sum(pairs) == len(whole.heads) - 1
    assert max(pairs) - min(pairs) <= 1
    assert report.latex().count("The table before, continued") == len(heads) - 1


@pytest.mark.parametrize(
    ("label", "pairs", "panels"),
    [
        (10, [20], [1]),
        (10, [20] * 4, [4]),
        (10, [20] * 5, [2, 3]),
        (200, [20] * 4, [2, 2]),  # a row that says much of its settings
        (10, [120, 20, 20, 20], [1, 1, 2]),
    ],
)
def test_what_is_wide_anyhow_does_not_scatter_the_pairs(label: int, pairs: list[int], panels: list[int]) -> None:
    """Widths in characters, gaps included, and how many pairs each float has."""
    heads = [Head((width - 2) * "x") for width in (label, *pairs)]
    table = Table(tuple(heads), (Row(("1",) * len(heads)),), ("Of seeds.",), spread=True)
    lines = [line for line in latex([table]).splitlines() if line.startswith("xx")]
    assert [line.count("&") for line in lines] == panels


def test_what_means_something_to_latex_is_escaped() -> None:
    assert escaped("a_b & 5 % {x} $ # \\ é →") == r"a\_b \& 5 \% \{x\} \$ \# \textbackslash{} é ?"
    assert escaped("-0.12 to -0.10, 72.10-72.50, resnet-20") == "$-$0.12 to $-$0.10, 72.10-72.50, resnet-20"
    assert escaped('a--b---c ?` "x"') == "a-{}-b-{}-{}-c ?{}` ''x''"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("layout", ["paper", "list"])
def test_it_compiles(layout: Any, runs: Path, tmp_path: Path) -> None:
    _compiled(read_report([runs], View(layout=layout, whole=True)).latex(), tmp_path)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("layout", ["paper", "list"])
def test_a_long_table_fits_a_page(layout: Any, run_folder: Write, result: Make, tmp_path: Path) -> None:
    for i in range(70):
        patch = {"student.name": f"student{i % 2}", "identity.cell": str(i)}
        run_folder(str(i), result(patch, method=f"method{i}"))
    out = _compiled(read_report([tmp_path / "outputs"], View(layout=layout)).latex(), tmp_path)
    assert "Float too large" not in out


def _compiled(tables: str, folder: Path) -> str:
    document = rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{tables}\end{{document}}"
    (folder / "tables.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "tables.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert (folder / "tables.pdf").stat().st_size > 1000
    assert "Overfull" not in done.stdout
    return done.stdout
