from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rlkd_run.results.report import Report, View, read_report

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]

EVIL = "<script>alert('x')</script>"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


@pytest.fixture
def report(run_folder: Write, result: Make, teacher_result: Make, tmp_path: Path) -> Report:
    def put(name: str, patch: dict[str, Any], **top_level: Any) -> None:
        folder = run_folder(name, result({"identity.cell": name[0], **patch}, **top_level))
        (folder / "metrics.csv").write_text("epoch,test_top1\n1,50\n2,60\n")

    put("a0", {"student.top1.best": 71.0, "packages.torch": "2.6.0"})
    put("a1", {"student.top1.best": 71.5, "packages.torch": "2.6.0"}, seed=1)
    put("b0", {"student.top1.best": 9.5, "student.name": "resnet32"}, temperature="rlkd", agent="paper")
    put("c0", {"student.top1.best": 100.0, "student.name": EVIL}, method="dkd")
    run_folder("t", teacher_result({"identity.cell": "t"}))
    return read_report([tmp_path / "outputs"])


class _Links(HTMLParser):
    """Collects where the page leads to, and which elements it has."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_one_file_that_needs_no_other(report: Report) -> None:
    text = report.html()
    links = _Links()
    links.feed(text)
    assert links.targets
    assert all(target.startswith("data:image/svg+xml;base64,") for target in links.targets)
    assert links.tags.count("script") == 1
    assert "@import" not in text
    assert "url(" not in text


def test_it_holds_tables_configurations_and_environments(report: Report) -> None:
    text = report.html()
    assert "<h1>Results of 5 runs</h1>" in text
    assert text.count('<table class="sortable">') == 2  # students and teachers; the layout of the paper stands beside
    assert "<td>71.25 ± 0.35 (2)</td>" in text.replace(' class="right"', "")
    assert "<tr><td>recipe.milestones</td><td>[150,180,210]</td></tr>" in text
    assert "(seeds 0, 1; cell a)" in text
    assert "<summary>2 runs</summary>" in text
    assert "<tr><td>packages.torch</td><td>2.6.0</td></tr>" in text
    assert EVIL not in text
    assert "&lt;script&gt;alert" in text


def test_the_layout_asked_for_is_there_without_a_number_of_the_paper_too(
    run_folder: Write, result: Make, tmp_path: Path
) -> None:
    run_folder("a", result(dataset="digits"))
    text = read_report([tmp_path / "outputs"], View(layout="paper")).html()
    assert '<thead><tr><th scope="col">method</th>' in text
    assert (text.count("<table>\n<thead>"), text.count('<table class="sortable">')) == (1, 1)


def test_without_matplotlib_the_page_says_so(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("rlkd_run.results.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = report.html()
    assert "<p>Pictures need matplotlib: pip install &#x27;rlkd-run[plots]&#x27;.</p>" in text
    assert "<img" not in text


# Runs in the page, after its own script: what a reader would do, and what there is to be seen then.
_READER = """<script>
const table = document.querySelector("table.sortable");
const heads = [...table.tHead.rows[0].cells];
const at = (name) => heads.findIndex((head) => head.textContent === name);
const column = (name) => [...table.tBodies[0].rows].map((row) => row.cells[at(name)].textContent.trim());
const click = (name) => heads[at(name)].querySelector("button").click();
const seen = {};
click("best epoch"); seen.rising = column("best epoch");
click("best epoch"); seen.falling = column("best epoch"); seen.pairs = column("pair");
seen.aria = heads[at("best epoch")].getAttribute("aria-sort");
click("paper"); seen.paper = column("paper");
click("paper"); seen.paper_falling = column("paper");
click("pair"); seen.names = column("pair"); seen.sorted = heads.filter((head) => head.ariaSort).length;
seen.drawn = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
seen.pictures = document.images.length;
document.body.dataset.seen = JSON.stringify(seen);
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
def test_in_a_browser(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    wait = "<script>window.addEventListener('load', () => {"
    reader = _READER.replace("<script>", wait, 1).replace("</script>", "});</script>")
    file.write_text(report.html().replace("</html>", f"{reader}</html>"), encoding="utf-8")
    dom, console = _browse(file, tmp_path / "profile")
    assert console == []
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found, dom[-2000:]
    seen = json.loads(found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    evil = f"resnet56-{EVIL}"
    assert seen == {
        "rising": ["9.50", "71.25 ± 0.35", "100.00"],
        "falling": ["100.00", "71.25 ± 0.35", "9.50"],
        "pairs": [evil, "resnet56-resnet20", "resnet56-resnet32"],
        "aria": "descending",
        "paper": ["70.66", "", ""],
        "paper_falling": ["70.66", "", ""],
        "names": [evil, "resnet56-resnet20", "resnet56-resnet32"],
        "sorted": 1,
        "drawn": True,
        "pictures": 4,
    }


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
def test_the_watch_for_errors_works(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<!doctype html><script>nowhere()</script>")
    _, console = _browse(file, tmp_path / "profile")
    assert len(console) == 1
    assert "nowhere is not defined" in console[0]


def _browse(file: Path, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser has it after loading, and what it wrote to its console."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom"]
    environment = {**os.environ, "HOME": str(profile)}
    done = subprocess.run(
        [*command, file.as_uri()], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
