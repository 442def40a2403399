from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlkd_run.results.aggregate import Spread, aggregate
from rlkd_run.results.records import read_record
from rlkd_run.results.report import read_report, table_for
from rlkd_run.results.significance import Comparison, beyond_seeds, comparisons, paired_test

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]

FIXED = (70.0, 70.5, 71.0, 70.25, 70.75)
RLKD = (70.5, 70.75, 71.75, 70.5, 71.5)


@pytest.fixture
def put(run_folder: Write, result: Make) -> Callable[..., None]:
    """Write runs of seeds 0, 1, … with these accuracies, under one temperature and one cell."""

    def write(temperature: str, accuracies: Sequence[float], cell: str = "", pair: str = "", **patch: Any) -> None:
        agent = "paper" if temperature == "rlkd" else None
        own = {key.replace("__", "."): value for key, value in patch.items()}
        if pair:
            teacher, student = pair.split("-")
            own |= {"teacher.name": teacher, "config.teacher.model": teacher}
            own |= {"student.name": student, "config.student.model": student}
        for seed, top1 in enumerate(accuracies):
            values = {
                "student.top1.best": top1,
                "student.top1.last": top1 - 1,
                "identity.cell": f"{temperature}{cell}",
                "config.temperature.name": temperature,
                **own,
            }
            run = result(values, temperature=temperature, agent=agent, seed=seed)
            run_folder(f"{temperature}{cell}{pair}{seed}", run)

    return write


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., list[Comparison]]:
    def read(select: str = "best") -> list[Comparison]:
        found = comparisons(aggregate(map(read_record, sorted((tmp_path / "outputs").iterdir()))))
        return [one for one in found if one.select == select]

    return read


def test_one_pair_is_the_paired_t_test(put: Callable[..., None], compared: Callable[..., list[Comparison]]) -> None:
    put("fixed", FIXED)
    put("rlkd", RLKD)
    (found,) = compared()
    expected = stats.ttest_rel(RLKD, FIXED)
    assert (found.pairs, found.seeds, found.too_small) == (("resnet56-resnet20",), 5, False)
    assert found.mean == pytest.approx(0.5)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.half_width == pytest.approx(expected.confidence_interval(0.95).high - 0.5, rel=1e-9)


def test_pairs_are_pooled_each_with_a_mean_and_a_variance_of_its_own() -> None:
    blocks = [[0.1, 0.3, 0.2], [1.0, 1.4, 1.1, 1.3]]
    mean, half_width, p = paired_test(blocks)
    assert mean == pytest.approx(0.7)
    # The mean of two means is zero where one mean is the other's negative: Welch's test of two samples.
    welch = stats.ttest_ind(blocks[0], [-x for x in blocks[1]], equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert half_width == pytest.approx((high - low) / 4, rel=1e-9)
    assert p == pytest.approx(welch.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    ("seeds", "spread"), [((4, 4, 4), (0.2, 0.2, 0.2)), ((5, 20, 20), (1.0, 0.2, 0.2)), ((5, 20, 20), (0.2, 1.0, 1.0))]
)
def test_pooling_keeps_its_promise_where_nothing_differs(seeds: tuple[int, ...], spread: tuple[float, ...]) -> None:
    own = [0.0, 5.0, -5.0]  # a pair's own difference must not pass for noise, and they cancel
    random = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        _, _, p = paired_test([random.normal(*of, n).tolist() for n, *of in zip(seeds, own, spread, strict=True)])
        assert p is not None
        rejected += p < 0.05
    assert 8 <= rejected <= 34  # 20 expected, three standard deviations to either side


def test_what_one_seed_and_equal_seeds_can_tell() -> None:
    assert paired_test([[0.5], [0.25]]) == (0.375, None, None)
    assert paired_test([[0.5, 0.75, 1.0], [0.25]]) == (0.5, None, None)  # of one pair nothing is known but its mean
    assert paired_test([[0.5, 0.5]]) == (0.5, None, None)
    assert paired_test([[0.0, 0.0]]) == (0.0, None, None)
    rounded = [0.3 - 0.1, 0.5 - 0.3]
    assert rounded[0] != rounded[1]
    assert paired_test([rounded]) == (pytest.approx(0.2), None, None)


def test_only_runs_that_differ_in_the_temperature_alone(
    put: Callable[..., None], compared: Callable[..., list[Comparison]]
) -> None:
    put("rlkd", RLKD[:3])
    put("fixed", FIXED[:2], config__temperature__value=4)
    put("fixed", (1.0, 2.0, 3.0), "-lr", config__recipe__lr=0.1)
    put("fixed", (69.5, 69.75, 69.75), "-two", config__temperature__value=2, config__runtime__device="cuda")
    put("random", (70.0, 70.0, 70.0))
    put("ctkd", (71.0, 71.0, 71.0))
    found = {one.baseline: one for one in compared("last")}
    assert {name: (one.seeds, one.mean, one.too_small) for name, one in found.items()} == {
        "fixed (temperature.value=2)": (3, pytest.approx(4 / 3), True),
        "fixed (temperature.value=4)": (2, pytest.approx(0.375), True),
        "random": (3, pytest.approx(1.0), True),
    }


def test_short_runs_are_not_pooled_with_long_ones(
    put: Callable[..., None], compared: Callable[..., list[Comparison]]
) -> None:
    for policy, gain in (("fixed", 0), ("rlkd", 1)):
        put(policy, (70.0 + gain, 71.0 + gain))
        put(policy, (30.0 + 2 * gain, 31.0 + 2 * gain), "short", epochs=20, config__recipe__epochs=20)
    assert {(one.epochs, one.mean, one.pairs) for one in compared()} == {
        (240, 1.0, ("resnet56-resnet20",)),
        (20, 2.0, ("resnet56-resnet20",)),
    }


def test_only_what_was_run_alike_is_pooled(
    put: Callable[..., None], compared: Callable[..., list[Comparison]], tmp_path: Path
) -> None:
    small = {"config__recipe__lr": 1.0, "config__dataset__train_limit": 1000}
    slow = {"config__recipe__lr": 0.01, "config__student__lr": 0.01}  # as the literature trains this student
    for policy, gain, loss in (("fixed", 0.0, 0.0), ("rlkd", 1.0, -5.0)):
        put(policy, (70.0 + gain, 71.0 + gain))
        put(policy, (20.0 + loss, 21.0 + loss), "small", **small)
        put(policy, (60.0 + gain, 62.0 + gain), "", "vgg13-mobilenet_v2", **slow)
    found = {one.settings: one for one in compared()}
    assert {settings: (one.mean, len(one.pairs), bool(one.deviations)) for settings, one in found.items()} == {
        ("dataset.train_limit=null",): (1.0, 2, False),
        ("dataset.train_limit=1000", "recipe.lr=1.0"): (-5.0, 1, True),
    }
    text = table_for([tmp_path / "outputs"]).split("RLKD against other temperatures")[1]
    assert "| kd †   | rlkd - fixed | dataset.train_limit=1000, recipe.lr=1.0 |" in text
    assert "† Not run under the paper's recipe" in text


def test_a_pair_counts_once_in_a_pool(put: Callable[..., None], compared: Callable[..., list[Comparison]]) -> None:
    """Of a weight that methods choose by the pair, the same pair was run at two."""
    for policy, gain in (("fixed", 0.0), ("rlkd", 1.0)):
        put(policy, (70.0 + gain, 71.0 + gain), "2", config__method__beta=2.0)
        put(policy, (60.0 + 3 * gain, 61.0 + 3 * gain), "8", config__method__beta=8.0)
    assert {one.settings: one.mean for one in compared()} == {("method.beta=2.0",): 1.0, ("method.beta=8.0",): 3.0}


def test_rows_that_read_alike_name_their_temperatures(
    put: Callable[..., None], compared: Callable[..., list[Comparison]]
) -> None:
    for pair, value in (("resnet56-resnet20", 4.0), ("vgg13-vgg8", 1.0)):
        put("fixed", FIXED, "", pair, config__temperature__value=value)
        put("rlkd", RLKD, "", pair)
    assert [(one.treatment, one.baseline) for one in compared()] == [
        ("rlkd", "fixed (temperature.value=4.0)"),
        ("rlkd", "fixed (temperature.value=1.0)"),
    ]


def test_runs_of_an_earlier_version_find_partners(
    put: Callable[..., None], compared: Callable[..., list[Comparison]], told: list[str], tmp_path: Path
) -> None:
    later = {
        "config.recipe.schedule": "step",
        "config.recipe.lr_policy": "none",
        "config.recipe.tempbalance": {"assign": "linear"},
        "config.teacher.objective": "labels",
        "config.teacher.nasty": {"omega": 0.01, "adversary": None},
        "config.objective": "val_top1",
        "config.trials": 5,
    }
    put("rlkd", RLKD)
    put("fixed", FIXED, **later)
    assert [one.seeds for one in compared()] == [5]
    read_report([tmp_path / "outputs"], tell=told.append)
    assert told == []


def test_only_students_of_the_same_weights_are_compared(
    put: Callable[..., None], compared: Callable[..., list[Comparison]], told: list[str], tmp_path: Path
) -> None:
    put("rlkd", RLKD, teacher__sha256="aa")
    put("fixed", FIXED, teacher__sha256="bb")
    assert compared() == []
    read_report([tmp_path / "outputs"], tell=told.append)
    assert told == [
        "On cifar100 some RLKD has no fixed or random temperature to be compared with: kd on resnet56-resnet20 "
        "(the nearest runs differ in the teacher's weights as well)."
    ]
    put("random", FIXED, teacher__sha256=None)  # of an earlier version, which recorded none
    assert [(one.baseline, one.seeds) for one in compared()] == [("random", 5)]


def test_a_given_teacher_is_its_weights_wherever_they_lie(
    put: Callable[..., None], compared: Callable[..., list[Comparison]]
) -> None:
    own = {"config__teacher__recipe": {"lr": 0.05}, "config__teacher__seed": 7}
    put("rlkd", RLKD, teacher__sha256="aa", config__teacher__checkpoint="one.pth", **own)
    put("fixed", FIXED, teacher__sha256="aa", config__teacher__checkpoint="other/two.pth")
    put("random", FIXED, teacher__sha256="bb", config__teacher__checkpoint="one.pth")
    assert [(one.baseline, one.seeds) for one in compared()] == [("fixed", 5)]
    for policy, accuracies in (("rlkd", RLKD), ("fixed", FIXED)):  # of a trained teacher
        put(policy, accuracies, "", "vgg13-vgg8", **own)
    assert [(one.baseline, len(one.pairs)) for one in compared()] == [("fixed", 2)]


def test_weights_that_somebody_set_for_one_pair_are_not_pooled_with_those_of_another(
    put: Callable[..., None], compared: Callable[..., list[Comparison]]
) -> None:
    dkd = {"method": "dkd", "config__method__name": "dkd"}
    for policy, gain in (("fixed", 0.0), ("rlkd", 1.0)):
        put(policy, (70.0 + gain, 71.0 + gain), **dkd, config__method__beta=2.0)
        put(policy, (60.0 + gain, 62.0 + gain), "", "resnet32x4-resnet8x4", **dkd, config__method__beta=8.0)
        own = {"config__method__beta": 9.0, "departures": {"method.beta": [9.0, 2.0]}}
        put(policy, (50.0 + gain, 52.0 + gain), "", "vgg13-vgg8", **dkd, **own)
    assert sorted(len(one.pairs) for one in compared()) == [1, 2]


def test_what_has_no_partner_is_counted(put: Callable[..., None], tmp_path: Path) -> None:
    put("rlkd", RLKD)
    put("fixed", (*FIXED, 75.0, 76.0))
    text = table_for([tmp_path / "outputs"])
    assert text.count("| 2 runs without a partner |") == 2


def test_what_no_setting_tells_is_said_below(put: Callable[..., None], tmp_path: Path) -> None:
    put("fixed", FIXED[:2])
    put("fixed", FIXED[2:3], pair="vgg13-vgg8", code={"rlkd-run": "0.2.0"})  # alone, and like no other
    put("rlkd", RLKD[:2])

    def change(run: str, weights: str | None, code: object) -> None:
        file = tmp_path / "outputs" / run / "result.json"
        record = json.loads(file.read_text())
        record["teacher"]["sha256"], record["code"] = weights, code
        file.write_text(json.dumps(record))

    change("rlkd0", None, None)  # of an earlier version, which recorded neither
    assert "\nRuns" not in table_for([tmp_path / "outputs"])
    change("fixed1", "bb", {"rlkd-run": "0.1.1"})
    put("random", RLKD[:1])
    put("rlkd", RLKD[:1], "own", own_code=[{"mine": "12"}], config__agent__reward="mine")
    text = table_for([tmp_path / "outputs"])
    mixed = "Runs behind one mean differ in {}: cifar100 resnet56-resnet20 kd fixed."
    assert mixed.format("the weights of their teacher") in text
    assert mixed.format("the version of rlkd-run") in text
    for run, torch, device in (("fixed0", "2.9.1", "cpu"), ("fixed1", "2.14.1", "NVIDIA H100")):
        file = tmp_path / "outputs" / run / "result.json"
        record = json.loads(file.read_text())
        record["packages"], record["machine"] = {"torch": torch}, {"device": device}
        file.write_text(json.dumps(record))
    text = table_for([tmp_path / "outputs"])
    assert mixed.format("the version of torch") in text
    assert mixed.format("the device") in text
    for run, listed in (("fixed0", "aa"), ("fixed1", "bb")):
        file = tmp_path / "outputs" / run / "result.json"
        record = json.loads(file.read_text())
        record["images"] = {"fingerprint": {"train": "same", "test": listed}}
        file.write_text(json.dumps(record))
    assert mixed.format("their images") in table_for([tmp_path / "outputs"])
    assert "Runs that are compared differ in their own code: cifar100 kd rlkd (agent.reward=mine) - fixed" in text


def test_what_keeps_runs_from_being_compared_is_told(put: Callable[..., None], told: list[str], tmp_path: Path) -> None:
    put("rlkd", RLKD)
    put("fixed", FIXED, config__recipe__lr_policy="tempbalance", config__recipe__tempbalance={"assign": "linear"})
    put("random", FIXED, config__recipe__lr=0.1)
    put("rlkd", RLKD, "alone", "vgg13-vgg8")
    assert "RLKD against" not in read_report([tmp_path / "outputs"], tell=told.append).markdown()
    assert told == [
        "On cifar100 some RLKD has no fixed or random temperature to be compared with: kd on resnet56-resnet20 "
        "(the nearest runs differ in recipe.lr as well)."
    ]


def test_the_table_says_that_it_is_too_small(put: Callable[..., None], tmp_path: Path) -> None:
    put("fixed", FIXED[:3])
    put("rlkd", RLKD[:3])
    text = table_for([tmp_path / "outputs"])
    assert "RLKD against other temperatures" in text
    assert (
        "| kd     | rlkd - fixed |     1 |     3 | last  |      +0.50 | -0.12 to +1.12 | 0.074 | too few seeds |"
        in text
    )
    assert "|     3 | best  |      +0.50 |" in text
    assert "Too few seeds: below 5, which is too small to conclude anything." in text


def test_five_seeds_are_enough(put: Callable[..., None], tmp_path: Path) -> None:
    put("fixed", FIXED)
    put("rlkd", RLKD)
    assert "oo few seeds" not in table_for([tmp_path / "outputs"])


@pytest.mark.parametrize(
    ("values", "paper", "beyond"),
    [
        # n = 3, std 1: 4.303 · √(4/3) = 4.968.
        ([69.0, 70.0, 71.0], 74.96, False),
        ([69.0, 70.0, 71.0], 74.98, True),
        ([69.0, 70.0, 71.0], 65.02, True),
        ([70.0], 0.0, False),
        ([70.0, 70.0], 70.01, False),
    ],
)
def test_what_the_seeds_explain(values: list[float], paper: float, beyond: bool) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert beyond_seeds(spread, paper) is beyond


def test_the_mark_stands_on_the_difference(put: Callable[..., None], tmp_path: Path) -> None:
    put("fixed", (60.0, 60.1, 60.2))
    text = table_for([tmp_path / "outputs"])
    assert "| 70.66 | -10.56 ‡ |" in text
    assert "‡ More than the seeds explain" in text


def test_no_such_mark_where_the_recipe_explains_it(put: Callable[..., None], tmp_path: Path) -> None:
    put("fixed", (60.0, 60.1, 60.2), config__recipe__lr=0.1)
    text = table_for([tmp_path / "outputs"])
    assert "-10.56" in text
    assert "‡" not in text
