"""docs/results.md shows the records under results/ and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from support import ROOT, script_module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("results_page")


def test_the_page_is_what_its_script_writes(script: ModuleType) -> None:
    text = script.PAGE.read_text()
    assert ROOT / "docs" / "results.md" == script.PAGE
    assert script.page(text) == text, "run scripts/results_page.py"


def test_every_folder_of_records_is_on_the_page(script: ModuleType) -> None:
    text = script.PAGE.read_text()
    for folder in (folder for folder in (ROOT / "results").iterdir() if folder.is_dir()):
        assert f"<!-- rlkd-table results/{folder.name}" in text


def test_what_is_stale_would_be_seen(script: ModuleType) -> None:
    text = script.PAGE.read_text()
    for shown in ("| 32.36 ", "| 12.99 |", "Nothing was run yet."):
        if shown in text:
            assert script.page(text.replace(shown, "| 99.99 ")) == text
    assert "| 32.36 " in text


def test_a_metrics_block_by_hand(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,test_top1,agent_reward\n1,50.126,0.01\n2,60,-0.5\n")
    assert script.metrics([str(tmp_path), "test_top1:.2f", "agent_reward:+.1f"]).splitlines() == [
        "| epoch | test top1 | reward |",
        "| ---: | ---: | ---: |",
        "| 1 | 50.13 | +0.0 |",
        "| 2 | 60.00 | -0.5 |",
    ]
