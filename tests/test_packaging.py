"""The wheel holds everything that the command needs, and runs from any folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_runs_from_anywhere() -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(Path.cwd()), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = Path().glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall("site")
    for wanted in (
        "rlkd_run/py.typed",
        "rlkd_run/conf/config.yaml",
        "rlkd_run/results/reported.yaml",
        "rlkd_run/results/page.js",
    ):
        assert wanted in names
    assert {name for name in names if name.startswith("rlkd_run/conf/")} == {
        f"rlkd_run/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")
    }
    metadata = f"{wheel.stem.rsplit('-', 3)[0]}.dist-info"
    assert {name.split("/")[0] for name in names} == {"rlkd_run", metadata}
    # In isolated mode neither the current folder nor the checkout is on the path; only what was unpacked is added.
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from rlkd_run.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(Path("site").resolve()), "experiment=quickstart", "--cfg", "job"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "series: quickstart" in done.stdout
