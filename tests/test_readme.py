"""What the README says is what happens."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import TINY, Ended, save_untrained_teacher

from rlkd_run.config.composition import compose_command

ROOT = Path(__file__).parent.parent
LAUNCHERS = [f"docs/launchers/{page.name}" for page in sorted((ROOT / "docs/launchers").glob("*.md"))]
PAGES = {
    page: (ROOT / page).read_text() for page in ("README.md", "docs/results.md", "docs/experiments.md", *LAUNCHERS)
}
EXTENDING = (ROOT / "docs/extending.md").read_text()
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
    for page in ("README.md", *(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
            if not target.startswith("http"):
                assert (ROOT / page).parent.joinpath(target).exists(), (page, target)


def write_blocks(text: str) -> list[str]:
    """Write the files that a page shows, and give their names."""
    blocks = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, content in blocks:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)
    return [name for name, _ in blocks]


def test_its_method_of_ones_own_runs(rlkd_run_process: Callable[..., Ended]) -> None:
    names = write_blocks(PAGES["README.md"])
    assert names == ["my_method.py", "my_method_class.py", "my_conf/method/logit_regression.yaml"]
    own = ["--plugin", "my_method", "--config-dir", "my_conf", "method=logit_regression", "temperature=fixed"]
    assert " ".join(own) in PAGES["README.md"]
    ended = rlkd_run_process(*TINY, *own, PYTHONPATH=str(Path.cwd()))
    assert ended.code == 0, ended.err
    assert "regression" in ended.out
    assert "| logit_regression | fixed" in ended.out


OWN = re.findall(r"^ {4}PYTHONPATH=. rlkd-run (.*)$", EXTENDING, re.MULTILINE)


@pytest.mark.parametrize("command", OWN)
def test_what_extends_it_runs(command: str, rlkd_run_process: Callable[..., Ended]) -> None:
    write_blocks(EXTENDING)
    save_untrained_teacher()
    subprocess.run([sys.executable, "make_own_images.py"], check=True)
    words = command.split()
    replaced = {word.split("=")[0] for word in words}
    tiny = [word for word in TINY if word.split("=")[0] not in replaced]
    ended = rlkd_run_process(*tiny, "teacher.checkpoint=teacher.safetensors", *words, PYTHONPATH=str(Path.cwd()))
    assert ended.code == 0, ended.err
    assert "note " not in ended.out


def test_every_kind_is_shown() -> None:
    kinds = ("temperature=", "student=", "dataset=")
    assert [kind in command for kind, command in zip(kinds, OWN, strict=True)] == [True] * 3
