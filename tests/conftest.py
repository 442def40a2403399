"""What many tests share: the command in this process or in one of its own, and where real data lie."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Ended, command, save_untrained_teacher

# Torch looks at this once in a process, when a GPU is asked for its first product of matrices. A run has set it by then
# (`prepare`); here another test may ask first, and then every product of a deterministic one would warn.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

LONGEST = (
    "test_every_choice.py",
    "test_learning.py",
    "test_combinations.py",
    "test_capture.py",
    "test_composition.py",
    "test_launchers.py",
    "test_interruption.py",
    "test_command.py",
    "test_training.py",
    "test_readme.py",
    "test_fast_path.py",
    "test_tuning.py",
    "test_real_images.py",
    "test_sweeps.py",
    "test_bench_scripts.py",
    "test_agent_resume.py",
    "test_agent.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that at the end no process waits for one of them."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own, so that what it writes is seen, and harms nobody."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.fixture
def a_teacher_at_hand(_own_folder: None) -> None:
    """An untrained one, in `teacher.safetensors`."""
    save_untrained_teacher()


@pytest.fixture
def rlkd_run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command in this process."""
    from rlkd_run.cli import main

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def rlkd_run_process() -> Callable[..., Ended]:
    """The command in a process of its own."""

    def run(*arguments: str, **environment: str) -> Ended:
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real CIFAR-100 and Imagenette."""
    root = os.environ.get("RLKD_DATA")
    if not root or not Path(root, "cifar-100-python").is_dir():
        pytest.skip("RLKD_DATA does not point to the real CIFAR-100")
    return Path(root)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the reference checkpoint."""
    root = os.environ.get("RLKD_SHARED")
    if not root or not Path(root).is_dir():
        pytest.skip("RLKD_SHARED does not point to the reference files")
    return Path(root)
