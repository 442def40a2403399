"""What the README says is what happens."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from support import TINY, Ended

from rlkd_run.config.composition import compose_command

ROOT = Path(__file__).parent.parent
LAUNCHERS = [f"docs/launchers/{page.name}" for page in sorted((ROOT / "docs/launchers").glob("*.md"))]
PAGES = {
    page: (ROOT / page).read_text() for page in ("README.md", "docs/results.md", "docs/experiments.md", *LAUNCHERS)
}
EXTRAS = {"hydra/launcher": "hydra_plugins.hydra_{}_launcher", "runtime.wandb": "wandb"}


def commands() -> list[str]:
    """Every indented rlkd-run line, without its comment."""
    found = [line for text in PAGES.values() for line in re.findall(r"^ {4}(rlkd-run .*)$", text, re.MULTILINE)]
    return list(dict.fromkeys(line.split("  #")[0].strip() for line in found))


@pytest.mark.parametrize("command", commands())
def test_its_commands_compose(command: str) -> None:
    overrides = [word for word in shlex.split(command)[1:] if "=" in word]
    for key, value in (word.split("=", 1) for word in overrides):
        module = EXTRAS.get(key, "rlkd_run").format(value.split("_")[0])
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    keys = {word.split("=")[0] for word in overrides}
    if "experiment" in keys and "pair" not in keys:
        overrides.append("pair=resnet56-resnet20")  # one of a table's pairs says enough
    for word in overrides:
        if word.startswith("run="):
            folder = Path(word.removeprefix("run="))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text("{}")
    assert compose_command(overrides).runs


def test_it_has_commands() -> None:
    assert len(commands()) > 10


def test_its_links_lead_somewhere() -> None:
    for page in (*PAGES, "docs/design.md", "docs/rlkd.md", "docs/methods.md", "docs/tables.md", "docs/performance.md"):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
            if not target.startswith("http"):
                assert (ROOT / page).parent.joinpath(target).exists(), (page, target)


def test_its_method_of_ones_own_runs(rlkd_run_process: Callable[..., Ended]) -> None:
    blocks = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", PAGES["README.md"], re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == [
        "my_method.py",
        "my_method_class.py",
        "my_conf/method/logit_regression.yaml",
    ]
    for name, text in blocks:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    own = ["--plugin", "my_method", "--config-dir", "my_conf", "method=logit_regression", "temperature=fixed"]
    assert " ".join(own) in PAGES["README.md"]
    ended = rlkd_run_process(*TINY, *own, PYTHONPATH=str(Path.cwd()))
    assert ended.code == 0, ended.err
    assert "regression" in ended.out
    assert "| logit_regression | fixed" in ended.out
