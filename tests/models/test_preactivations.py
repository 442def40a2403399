"""Maps before their activation: where the zoo says they are, and the maps themselves elsewhere."""

from __future__ import annotations

import pytest
import torch

from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network
from rlkd_run.models.names import ZOO_NAMES
from rlkd_run.protocol import Needs

BOTH = Needs(maps=True, preactivations=True)
NOT_ACTIVATED = {"mobilenet_v2", "shufflenet_v2"}


@pytest.mark.parametrize("name", ZOO_NAMES)
def test_activation_leads_from_one_to_the_other(name: str) -> None:
    network = Network(build_model("zoo", name, 10).eval(), BOTH)
    with torch.no_grad():
        outputs = network(torch.randn(2, 3, 32, 32))
    assert len(outputs.preactivations) == len(outputs.maps)
    for before, after in zip(outputs.preactivations, outputs.maps, strict=True):
        assert before.shape == after.shape
        if name in NOT_ACTIVATED:
            assert before is after
        elif not name.startswith("wrn"):  # whose maps are raw sums
            assert (before < 0).any()
            assert torch.equal(before.relu(), after)


def test_a_wide_networks_are_normalised_sums() -> None:
    model = build_model("zoo", "wrn_16_1", 10).eval()
    outputs = Network(model, BOTH)(torch.randn(2, 3, 16, 16))
    stem, *stages = zip(outputs.maps, outputs.preactivations, strict=True)
    assert stem[0] is stem[1]
    for norm, (raw, before) in zip(("block2.layer.0.bn1", "block3.layer.0.bn1", "bn1"), stages, strict=True):
        assert torch.equal(model.get_submodule(norm)(raw), before)


def test_networks_that_declare_none_give_their_maps() -> None:
    network = Network(build_model("timm", "resnet10t", 10).eval(), BOTH)
    outputs = network(torch.randn(2, 3, 32, 32))
    assert all(before is after for before, after in zip(outputs.preactivations, outputs.maps, strict=True))
    assert Network(network.model, Needs(preactivations=True))(torch.randn(1, 3, 32, 32)).maps == ()
