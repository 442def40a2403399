"""docs/methods.md and docs/options.md are what the code declares."""

from __future__ import annotations

import pytest
from support import ROOT, script_module


@pytest.mark.parametrize("name", ["methods.md", "options.md"])
def test_a_page_is_what_its_script_writes(name: str) -> None:
    module = script_module("methods_page")
    assert module.DOCS == ROOT / "docs"
    assert module.PAGES[name]() == (ROOT / "docs" / name).read_text(), "run scripts/methods_page.py"
