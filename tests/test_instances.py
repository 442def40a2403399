"""What the record keeps of the temperatures of an epoch, against counts by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlkd_run.instances import Instances

CPU = torch.device("cpu")
SURE = torch.tensor([100.0, 0.0, 0.0, 0.0])  # entropy 0
UNSURE = torch.zeros(4)  # entropy log 4
HALF = torch.tensor([50.0, 50.0, 0.0, 0.0])  # entropy log 2, half of log 4


@pytest.fixture
def two_batches() -> Instances:
    instances = Instances(5, CPU)
    instances.reset()
    logits = torch.stack([SURE, UNSURE, HALF])
    instances.note(0, torch.tensor([1.0, 9.0, 5.0]), logits, torch.tensor([2, 0, 2]))
    instances.note(3, torch.tensor([2.0, 8.0]), torch.stack([SURE, UNSURE]), torch.tensor([2, 0]))
    return instances


def test_the_profile_by_hand(two_batches: Instances) -> None:
    profile = two_batches.profile()
    assert (profile["t_min"], profile["t_max"]) == (1.0, 9.0)
    # 32 parts of 1 … 9 are a quarter wide each.
    assert {key: profile[key] for key in profile if key.startswith("histogram_") and profile[key]} == {
        "histogram_0": 1,
        "histogram_4": 1,
        "histogram_16": 1,
        "histogram_28": 1,
        "histogram_31": 1,
    }
    assert sum(key.startswith("histogram_") for key in profile) == 32
    assert (profile["class_0"], profile["class_2"]) == (8.5, round(8 / 3, 4))
    assert "class_1" not in profile
    by_entropy = {key: value for key, value in profile.items() if key.startswith("entropy_")}
    assert by_entropy == {
        "entropy_0": 1.5,
        "entropy_count_0": 2,
        "entropy_5": 5.0,
        "entropy_count_5": 1,
        "entropy_9": 8.5,
        "entropy_count_9": 2,
    }


def test_entropy_is_a_share_of_its_maximum(two_batches: Instances) -> None:
    assert two_batches.entropies.tolist() == pytest.approx([0, 1, 0.5, 0, 1], abs=1e-6)


def test_one_temperature_for_all_needs_no_profile() -> None:
    instances = Instances(3, CPU)
    instances.note(0, torch.tensor(4.0), UNSURE.expand(3, 4), torch.zeros(3, dtype=torch.int64))
    assert instances.seen().tolist() == [4.0, 4.0, 4.0]
    assert instances.profile() == {}
    instances.note(0, torch.full((3,), 4.0), UNSURE.expand(3, 4), torch.zeros(3, dtype=torch.int64))
    assert instances.profile() == {}


def test_only_what_was_shown_in_this_epoch(two_batches: Instances) -> None:
    two_batches.reset()
    assert two_batches.profile() == {}
    assert len(two_batches.seen()) == 0
    two_batches.note(0, torch.tensor([3.0, 5.0]), torch.stack([SURE, UNSURE]), torch.tensor([1, 1]))
    profile = two_batches.profile()
    assert profile["class_1"] == 4.0
    assert "class_2" not in profile


def test_state_round_trip(two_batches: Instances) -> None:
    other = Instances(5, CPU)
    other.load_state_dict(two_batches.state_dict())
    assert other.profile() == two_batches.profile()
    assert not math.isnan(other.profile()["class_0"])
