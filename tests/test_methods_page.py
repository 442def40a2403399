"""docs/methods.md and docs/options.md are what the code declares."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "scripts" / "methods_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["methods.md", "options.md"])
def test_a_page_is_what_its_script_writes(name: str) -> None:
    module = script()
    assert module.DOCS == ROOT / "docs"
    assert module.PAGES[name]() == (ROOT / "docs" / name).read_text(), "run scripts/methods_page.py"
