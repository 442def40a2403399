"""docs/methods.md is what the registry says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "scripts" / "methods_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_script_writes() -> None:
    module = script()
    assert module.PAGE == ROOT / "docs" / "methods.md"
    assert module.page() == module.PAGE.read_text(), "run scripts/methods_page.py"
