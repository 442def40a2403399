from __future__ import annotations

import random
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from rlkd_run.results.aggregate import Cell, aggregate
from rlkd_run.results.cli import main
from rlkd_run.results.epochs import Epochs, read_epochs
from rlkd_run.results.paper_recipe import Deviation
from rlkd_run.results.plots import temperature
from rlkd_run.results.plots.accuracy import accuracy_dots
from rlkd_run.results.plots.curves import agent_curves, learning_curves
from rlkd_run.results.plots.draw import pictures
from rlkd_run.results.plots.figure import STYLE, labels, line_styles, pair_lines
from rlkd_run.results.plots.seeds import curve
from rlkd_run.results.records import read_record
from rlkd_run.results.report import View, read_report

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def metrics(seed: int) -> str:
    rows = [f"{epoch},{50 + epoch + seed},{epoch},1,1,9,0.01,{seed}" for epoch in (1, 2, 3)]
    return "\n".join(["epoch,test_top1,t_mean,t_std,t_min,t_max,agent_reward,agent_actor_loss", *rows, ""])


def temperatures(first: int = 2) -> str:
    """Two epochs, 2 and 3: temperatures from 1 to 9, all in the lower half; two classes; two tenths of the entropy."""
    histogram = [10] * 16 + [0] * 16
    names = ["t_min", "t_max", *(f"histogram_{i}" for i in range(32)), "class_0", "class_2"]
    names += ["entropy_0", "entropy_9", "entropy_count_0", "entropy_count_9"]
    rows = [
        ",".join(map(str, [epoch, 1, 9, *histogram, 2 + epoch, 4, 3, 8, 150, 9 + epoch]))
        for epoch in (first, first + 1)
    ]
    return "\n".join([",".join(["epoch", *names]), *rows, ""])


@pytest.fixture
def runs(run_folder: Write, result: Make, tmp_path: Path) -> Path:
    for seed in (0, 1):
        for policy in ("fixed", "rlkd"):
            agent = "paper" if policy == "rlkd" else None
            patch = {"identity.cell": policy, "student.top1.best": 70.0 + seed}
            folder = run_folder(f"{policy}{seed}", result(patch, temperature=policy, agent=agent, seed=seed))
            (folder / "metrics.csv").write_text(metrics(seed))
            if policy == "rlkd":
                (folder / "temperatures.csv").write_text(temperatures())
    return tmp_path / "outputs"


@pytest.fixture
def cells(runs: Path) -> list[Cell]:
    return aggregate(map(read_record, sorted(runs.iterdir())))


def refuse(sentence: str) -> None:
    raise AssertionError(sentence)


def test_every_picture_in_both_forms(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures"
    assert main([str(runs), "--plots", str(folder)]) == 0
    kinds = ["accuracy", "agent", "curves", "temperature-by-class", "temperature-by-entropy", "temperature"]
    names = [f"{kind}-cifar100-kd" for kind in kinds]
    assert {file.name for file in folder.iterdir()} == {f"{name}.{end}" for name in names for end in ("png", "svg")}
    assert capsys.readouterr().err == f"12 pictures in {folder}\n"
    for name in names:
        png = (folder / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", png[16:24])
        assert width >= 600  # three inches at 200 dots
        assert height >= 200
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def test_equal_records_give_equal_files(cells: list[Cell], tmp_path: Path) -> None:
    first = next(pictures(cells, "best"))
    assert first.svg() == next(pictures(cells, "best")).svg()


def test_only_pictures_for_which_there_is_something(cells: list[Cell]) -> None:
    fixed = [cell for cell in cells if cell.temperature == "fixed"]
    for record in fixed[0].records:
        (record.folder / "metrics.csv").write_text("epoch,test_top1,t_min,t_max\n1,50,4,4\n")
    assert [picture.name for picture in pictures(fixed, "best", group="epochs=3")] == [
        "accuracy-cifar100-epochs_3-kd",
        "curves-cifar100-epochs_3-kd",
    ]


def test_mean_and_band_over_seeds(cells: list[Cell]) -> None:
    figure = learning_curves(cells, refuse)
    (axes,) = figure.axes
    assert axes.get_title() == "resnet56-resnet20\nmean ± std, n=2"
    for line in axes.lines:
        assert line.get_xydata().tolist() == [[1, 51.5], [2, 52.5], [3, 53.5]]
    low, high = (edge(axes.collections[0].get_paths()[0].vertices[:, 1]) for edge in (min, max))
    assert (low, high) == pytest.approx((51.5 - 0.5**0.5, 53.5 + 0.5**0.5))


def test_a_seed_that_left_no_curve_is_named_and_not_counted(runs: Path, cells: list[Cell], told: list[str]) -> None:
    (runs / "rlkd1" / "metrics.csv").unlink()
    drawn = {picture.name: picture.draw() for picture in pictures(cells, "best", tell=told.append)}
    where = runs / "rlkd1"
    assert told == [f"There is no metrics.csv in {where}, so what is drawn from it is of the other seeds alone."]
    assert drawn["curves-cifar100-kd"].axes[0].get_title() == "resnet56-resnet20\nmean ± std, n=1-2"
    assert drawn["agent-cifar100-kd"].axes[0].get_title() == "reward\nmean ± std, n=1-2"


def test_a_legend_says_of_no_line_that_it_is_another(runs: Path, cells: list[Cell]) -> None:
    for seed in (0, 1):
        (runs / f"fixed{seed}" / "temperatures.csv").write_text(temperatures())
    (below,) = temperature.uncertainty_curves(cells, refuse).legends
    assert [text.get_text() for text in below.get_texts()] == ["epoch 2", "epoch 3"]
    for seed in (0, 1):
        (runs / f"fixed{seed}" / "temperatures.csv").write_text(temperatures(first=3))
    figure = temperature.uncertainty_curves(cells, refuse)
    assert figure.legends == []
    for axes, epochs in zip(figure.axes, ((3, 4), (3, 4), (2, 3), (2, 3)), strict=True):
        own = axes.get_legend()
        assert own is not None
        assert [text.get_text() for text in own.get_texts()] == [f"epoch {epoch}" for epoch in epochs]


def with_settings(cells: list[Cell], *settings: tuple[str, ...]) -> list[Cell]:
    return [replace(cell, settings=own) for cell, own in zip(cells, settings, strict=True)]


def test_a_label_names_in_short_what_differs_within_the_picture(cells: list[Cell]) -> None:
    common = "runtime.precision=bf16"
    one, other = ("recipe.lr=0.1", "temperature.value=[1,2]"), ("agent.reward=probe", "recipe.lr=0.2")
    assert labels(with_settings(cells, (common, *one), (common, *other))) == [
        "fixed, lr=0.1, value=[1,2]",
        "rlkd, reward=probe, lr=0.2",
    ]
    assert labels(with_settings(cells, ("recipe.epochs=4", "teacher.recipe.epochs=8"), ("recipe.epochs=5",))) == [
        "fixed, recipe.epochs=4, teacher.recipe.epochs=8",
        "rlkd, recipe.epochs=5",
    ]
    assert labels(with_settings(cells, (common,), (common,))) == ["fixed", "rlkd"]
    assert labels(with_settings(cells, ("a.b=" + "c" * 110,), ())) == ["fixed, cell=fixed", "rlkd"]


def test_no_label_of_a_legend_is_cut_off(cells: list[Cell]) -> None:
    long = "recipe.milestones=[100,200,300,400,500,600,700,800,900],dataset.train_limit=20000"
    with mpl.rc_context(STYLE):
        figure = learning_curves(with_settings(cells, (long,), ()), refuse)
        figure.draw_without_rendering()
    (below,) = figure.legends
    inner, outer = below.get_window_extent(), figure.bbox
    assert outer.x0 <= inner.x0 < inner.x1 <= outer.x1
    assert [len(text.get_text()) for text in below.get_texts()] == [81, 4]


def test_a_curve_is_of_the_epochs_that_all_seeds_have() -> None:
    nan = float("nan")
    first, second = Epochs((1, 2, 3), {"x": (1.0, 2.0, nan)}), Epochs((2, 3, 4), {"x": (4.0, 5.0, 6.0)})
    found = curve([first, second], "x")
    assert found is not None
    assert found.std is not None
    assert (found.epochs.tolist(), found.mean.tolist(), found.std.tolist()) == ([2], [3], pytest.approx([2**0.5]))
    assert curve([first], "y") is None
    assert curve([Epochs((1,), {"x": (nan,)})], "x") is None
    alone = curve([first], "x")
    assert alone is not None
    assert alone.std is None


def test_dots_stand_where_they_were_measured(cells: list[Cell]) -> None:
    (axes,) = accuracy_dots(cells, "best").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fixed", "rlkd"]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_label() != "_nolegend_"}
    assert drawn["a seed"] == [[70, 1], [71, 1]]
    assert drawn["paper"] == [[71.4, 1]]
    (last,) = accuracy_dots(cells, "last").axes
    assert "paper" not in [line.get_label() for line in last.lines]


def test_no_dot_of_the_paper_beside_another_recipe(cells: list[Cell]) -> None:
    other = [replace(cell, deviations=(Deviation("recipe.lr", "1", "0.05"),)) for cell in cells]
    (axes,) = accuracy_dots(other, "best").axes
    assert "paper" not in [line.get_label() for line in axes.lines]


def test_shares_of_the_temperature_axis(tmp_path: Path) -> None:
    file = tmp_path / "temperatures.csv"
    file.write_text(temperatures())
    profile = read_epochs(file)
    shares = temperature._shares(profile, 3, np.array([0.0, 1.0, 3.0, 5.0, 9.0, 10.0]))
    assert shares.tolist() == pytest.approx([0, 0.5, 0.5, 0, 0])
    epochs, table = temperature._by_class(profile)
    assert epochs.tolist() == [2, 3]
    assert np.nan_to_num(table, nan=-1).tolist() == [[4, 5], [4, 4]]
    assert temperature._by_entropy(profile, 3) == ([0.05, 0.95], [3, 8])
    file.write_text(temperatures().replace(",150,12", ",150,9"))  # an instance fewer than a point needs
    assert temperature._by_entropy(read_epochs(file), 3) == ([0.05], [3])


def test_seeds_that_settle_at_opposite_ends_are_not_averaged_away(runs: Path, cells: list[Cell]) -> None:
    (runs / "rlkd1" / "temperatures.csv").write_text(temperatures().replace(",4,5,", ",8,9,"))
    (rlkd,) = [cell for cell in cells if cell.temperature == "rlkd"]
    for draw in (temperature.class_maps, temperature.uncertainty_curves):
        titles = [axes.get_title() for axes in draw([rlkd], refuse).axes]
        assert [text for text in titles if text] == [f"resnet56-resnet20\nrlkd, seed {seed}" for seed in (0, 1)]
    for seed in (0, 1):
        (runs / f"rlkd{seed}" / "temperatures.csv").unlink()
        (runs / f"rlkd{seed}" / "metrics.csv").write_text(metrics(seed).replace(",1,1,9,", f",{1 + 7 * seed},1,9,"))
    (axes,) = temperature.temperature_maps([rlkd], refuse).axes
    assert [line.get_label() for line in axes.lines] == ["a seed", "a seed", "mean over seeds"]


def test_names_of_networks_are_no_wider_than_their_panel(runs: Path) -> None:
    assert pair_lines("resnet56-resnet20") == "resnet56-resnet20"
    assert pair_lines("resnet50d-mobilenetv3_large_100") == "resnet50d-mobilenetv3_large_100"
    long = "vit_small_patch16_224-mobilenetv3_small_100"
    assert pair_lines(long) == "vit_small_patch16_224-\nmobilenetv3_small_100"
    assert max(map(len, pair_lines(f"{'a' * 50}-{'b' * 50}").splitlines())) <= 31


def test_lines_differ_however_many_they_are() -> None:
    for count in (5, 20, 45):
        names = [f"value={number}" for number in range(count)]
        assert len(set(line_styles(["rlkd", *names]).values())) == count + 1


def test_of_the_agent_only_what_it_noted(cells: list[Cell]) -> None:
    (rlkd,) = [cell for cell in cells if cell.temperature == "rlkd"]
    titles = [axes.get_title().splitlines()[0] for axes in agent_curves([rlkd], refuse).axes]
    assert titles == ["reward", "actor loss"]


def test_pictures_of_groups_do_not_overwrite_each_other(run_folder: Write, result: Make, tmp_path: Path) -> None:
    for number, root in enumerate(("data/a b", "data/a_b")):
        run_folder(str(number), result({"config.dataset.root": root, "identity.cell": root}))
    report = read_report([tmp_path / "outputs"], View(group_by="dataset.root"))
    names = [picture.name for picture in report.pictures()]
    assert names == ["accuracy-cifar100-dataset.root_data_a_b-kd", "accuracy-cifar100-dataset.root_data_a_b-kd_2"]
    assert len(set(report.plots(tmp_path / "pictures"))) == 4


def test_damaged_files_are_named_once_and_the_rest_is_drawn(runs: Path, cells: list[Cell], told: list[str]) -> None:
    (runs / "rlkd0" / "metrics.csv").write_text(metrics(0)[:-5])
    (runs / "rlkd1" / "temperatures.csv").write_text("epoch\n")
    (runs / "fixed0" / "metrics.csv").write_bytes(b"\x00\xff")
    drawn = [picture.draw() for picture in pictures(cells, "best", tell=told.append)]
    assert len(drawn) == 6
    assert told == [
        f"{runs / 'fixed0' / 'metrics.csv'} is skipped: it has no column epoch.",
        f"{runs / 'rlkd0' / 'metrics.csv'} is read up to line 3: the line after it is damaged.",
    ]


def test_any_damage_leaves_pictures(cells: list[Cell]) -> None:
    """Whatever stands in the files of one run, what can be drawn is drawn."""
    chance = random.Random(0)
    record = cells[-1].records[0]
    for name, text in (("metrics.csv", metrics(0)), ("temperatures.csv", temperatures())):
        for _ in range(4):
            signs = list(text)
            for _ in range(chance.randint(1, 6)):
                signs[chance.randrange(len(signs))] = chance.choice(",\n-9e.x\0")
            (record.folder / name).write_text("".join(signs))
            told: list[str] = []
            for picture in pictures(cells, "best", tell=told.append):
                assert picture.draw().axes
        (record.folder / name).write_text(text)


def test_without_matplotlib_one_sentence(runs: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from rlkd_run.results.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(runs), "--plots", "pictures"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    expected = "rlkd-table: Pictures need matplotlib: pip install 'rlkd-run[plots]'.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert not Path("pictures").exists()


def test_a_folder_that_cannot_be_made(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert main([str(runs), "--plots", "file/x"]) == 2
    assert capsys.readouterr().err == "rlkd-table: Pictures cannot be written to file/x (Not a directory).\n"
