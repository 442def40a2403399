"""The script that measures rlkd-table makes folders that it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ROOT, script_module

from rlkd_run.results.report import read_report


def test_synthetic_folders_are_read_in_full(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))  # where the script finds its neighbours when it is run
    script = script_module("table_cost")
    source = script.template()
    result = json.loads((source / "result.json").read_text())
    settings = script.settings(12)
    assert len(set(settings)) == 12
    for i, setting in enumerate(settings):
        script.write(tmp_path / "runs" / str(i), source, result, setting, 70.0 + i)
    cells = read_report([tmp_path / "runs"], tell=told.append).cells
    assert [cell.n for cell in cells] == [3, 3, 3, 3]
    assert told == []
    assert script.measure(tmp_path / "runs", ())[0] > 0
    with pytest.raises(SystemExit, match="failed"):
        script.measure(tmp_path / "none", ())
