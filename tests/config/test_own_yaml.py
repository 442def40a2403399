"""Folders of yaml files of one's own (`--config-dir`, `hydra.searchpath`)."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from commands import problems_of

from rlkd_run.config.composition import compose_command
from rlkd_run.config.shipped import config_folder


def test_own_yaml_files_are_found_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "recipe"
    folder.mkdir(parents=True)
    (folder / "short.yaml").write_text("defaults:\n  - cifar\n  - _self_\nepochs: 7\n")
    (run,) = compose_command(["recipe=short"], config_dirs=[str(folder.parent)]).runs
    assert run.recipe.epochs == 7
    assert "recipe=shrt is not a choice; did you mean short?" in problems_of(
        "recipe=shrt", config_dirs=[str(folder.parent)]
    )
    assert problems_of(config_dirs=["nowhere"])[0] == "--config-dir nowhere is not a folder."


def test_own_yaml_files_that_the_shipped_ones_hide_are_refused(tmp_path: Path) -> None:
    recipes = tmp_path / "recipe"
    recipes.mkdir()
    (recipes / "cifar.yaml").write_bytes((config_folder() / "recipe/cifar.yaml").read_bytes())
    assert compose_command(["recipe=cifar"], config_dirs=[str(tmp_path)]).runs[0].recipe.epochs == 240
    (recipes / "cifar.yaml").write_text("epochs: 5\n")
    for own in ({"config_dirs": [str(tmp_path)]}, {"overrides": [f"hydra.searchpath=[file://{tmp_path}]"]}):
        (problem,) = problems_of("recipe=cifar", *own.pop("overrides", []), **own)
        assert problem.startswith(f"{recipes / 'cifar.yaml'} would not be read")


def test_own_folders_of_yaml_files_that_must_not_be_read_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "recipe/cifar.yaml"
    file.parent.mkdir()
    file.write_text("epochs: 5\n")
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)  # root may read everything
    (problem,) = problems_of("recipe=cifar", config_dirs=[str(tmp_path)])
    assert problem.startswith(f"{file} would not be read")
    name = 300 * "x"  # no file may have so long a name, which `stat` says with an error
    assert problems_of(config_dirs=[name]) == [f"--config-dir {name} is not a folder."]


def test_a_yaml_file_that_is_none_is_named_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "recipe/short.yaml"
    file.parent.mkdir()
    file.write_text("epochs: 7\nmilestones: [3,\n")
    (problem,) = problems_of("recipe=short", config_dirs=[str(tmp_path)])
    assert problem.startswith(f"The configuration does not compose: {file}, line 3: ")
    file.write_text("epochs: 7\n\x07")
    (problem,) = problems_of("recipe=short", config_dirs=[str(tmp_path)])
    assert problem.startswith("The configuration does not compose: ")
    assert str(file) in problem
    assert "\n" not in problem
    file.write_bytes("# dès le début\nepochs: 7\n".encode("latin-1"))
    (problem,) = problems_of("recipe=short", config_dirs=[str(tmp_path)])
    assert problem == "A yaml file is not UTF-8 text, from what comes after '# d' on."
