"""Weights on disk: what loads, and one sentence for all that does not."""

from __future__ import annotations

import argparse
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from rlkd_run.errors import ConfigError
from rlkd_run.models.build import build_model
from rlkd_run.models.normalise import Renormalised
from rlkd_run.models.recognise import recognise
from rlkd_run.models.weights import load_weights, save_weights
from rlkd_run.models.zoo.registry import ZOO

WHAT = "teacher.checkpoint"


def resnet8(classes: int = 100) -> nn.Module:
    return build_model("zoo", "resnet8", classes)


def equal(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def refusal(path: Path, model: nn.Module | None = None) -> str:
    model = model or resnet8()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError) as caught:
        load_weights(model, path, what=WHAT)
    (sentence,) = caught.value.problems
    assert sentence.startswith(f"{WHAT}: {path} ")
    assert "\n" not in sentence
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    return sentence.removeprefix(f"{WHAT}: {path} ")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 240, "model": state, "accuracy": torch.tensor(72.3)},
        lambda state: {"opt": argparse.Namespace(lr=0.05, path="/x"), "model": state},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {"model_state_dict": {f"_orig_mod.{name}": value for name, value in state.items()}},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
        lambda state: state,
    ],
    ids=["reference", "reference-last", "data-parallel", "compiled", "both", "bare"],
)
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_checkpoints_of_other_code(tmp_path: Path, wrap: Any, archive: bool) -> None:
    teacher, model = resnet8(), resnet8()
    file = tmp_path / "ckpt_epoch_240.pth"
    torch.save(wrap(teacher.state_dict()), file, _use_new_zipfile_serialization=archive)
    load_weights(model, file, what=WHAT)
    assert equal(model, teacher)


def uncounted(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("wrap", "remarks"),
    [
        (lambda state: {"net": state, "acc": 93.1, "epoch": 200}, []),
        (lambda state: {"weights_ema": state, "optimizer": {"state": {}}}, ["under 'weights_ema'"]),
        (
            lambda state: {"state_dict": {f"model.net.{name}": value for name, value in state.items()}},
            ["names without 'model.'", "names without 'net.'"],
        ),
        (uncounted, ["without num_batches_tracked"]),
        (lambda state: {"state_dict": state, "best": np.float64(72.3), "rng": np.random.get_state()}, []),
    ],
    ids=["net", "the only one", "lightning", "old", "numpy"],
)
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_layouts_that_leave_no_doubt(tmp_path: Path, wrap: Any, remarks: list[str], archive: bool) -> None:
    teacher, model = resnet8(), resnet8()
    file = tmp_path / "t.pth"
    torch.save(wrap(teacher.state_dict()), file, _use_new_zipfile_serialization=archive)
    assert load_weights(model, file, what=WHAT) == remarks
    assert equal(model, teacher)


def test_a_prefix_that_the_network_has_stays(tmp_path: Path) -> None:
    outer = nn.Sequential()
    outer.add_module("model", resnet8())
    torch.save(outer.state_dict(), tmp_path / "t.pth")
    assert load_weights(outer, tmp_path / "t.pth", what=WHAT) == []


def test_two_networks_in_a_file_are_not_chosen_from(tmp_path: Path) -> None:
    file, state = tmp_path / "t.pth", resnet8().state_dict()
    torch.save({"student": state, "teacher": state}, file)
    assert "holds no state dict, neither as a whole" in refusal(file)
    torch.save({f"{role}.{name}": value for role in ("student", "teacher") for name, value in state.items()}, file)
    assert refusal(file).startswith("does not hold a resnet8: it lacks ")


@pytest.mark.parametrize(
    "change",
    [lambda value: value.to_sparse(), lambda value: value.to("meta"), lambda value: value.to(torch.complex64)],
    ids=["sparse", "meta", "complex"],
)
def test_tensors_that_are_no_plain_numbers(tmp_path: Path, change: Any) -> None:
    file, state = tmp_path / "t.pth", resnet8().state_dict()
    torch.save(state | {"fc.weight": change(state["fc.weight"])}, file)
    assert refusal(file) == (
        "holds 'fc.weight' as a tensor that is sparse, quantised, complex or without data; save it dense, as floats"
    )


def test_a_published_teacher() -> None:
    folder = os.environ.get("RLKD_SHARED")
    if not folder:
        pytest.skip("RLKD_SHARED does not name a folder with data/teachers/resnet20.pth")
    file = Path(folder) / "data" / "teachers" / "resnet20.pth"
    model = build_model("zoo", "resnet20", 100)
    load_weights(model, file, what=WHAT)
    assert recognise(model.state_dict()) == ("resnet20", 100)
    assert "holds a resnet20, not a resnet8" in refusal(file)


def test_own_files_come_back_in_the_same_bits(tmp_path: Path) -> None:
    teacher = resnet8().to(memory_format=torch.channels_last)
    teacher(torch.randn(2, 3, 8, 8))
    file = tmp_path / "new" / "resnet8.safetensors"
    save_weights(Renormalised(teacher, (0,), (1,), (0.5,), (0.5,)), file)
    model = resnet8()
    load_weights(model, file, what=WHAT)
    assert equal(model, teacher)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    renamed = file.rename(tmp_path / "resnet8.pth")
    load_weights(resnet8(), renamed, what=WHAT)


def current_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "student.safetensors"
    save_weights(resnet8(), file)
    content = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(resnet8(), file)
    assert file.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path: Path, precision: torch.dtype) -> None:
    teacher, model = resnet8().to(precision), resnet8()
    torch.save({"model": teacher.state_dict()}, tmp_path / "t.pth")
    save_weights(teacher, tmp_path / "t.safetensors")
    for name in ("t.pth", "t.safetensors"):
        load_weights(model, tmp_path / name, what=WHAT)
        assert all(value.dtype == torch.float32 for value in model.parameters())
        torch.testing.assert_close(model.get_submodule("fc").weight, teacher.get_submodule("fc").weight.float())


class Bomb:
    """Writes a file when it is unpickled by code that executes pickles."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_no_code_is_executed(tmp_path: Path, archive: bool) -> None:
    file, crater = tmp_path / "bomb.pth", tmp_path / "crater"
    torch.save({"model": resnet8().state_dict(), "best": Bomb(crater)}, file, _use_new_zipfile_serialization=archive)
    sentence = refusal(file)
    assert "is refused" in sentence
    assert ".system'" in sentence
    assert "torch.save(model.state_dict(), FILE)" in sentence
    assert not crater.exists()


def test_no_code_of_plain_pickles_is_executed(tmp_path: Path) -> None:
    file, crater = tmp_path / "bomb.pkl", tmp_path / "crater"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        file.write_bytes(pickle.dumps(Bomb(crater), protocol=protocol))
        refusal(file)
        assert not crater.exists()


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pth") == "does not exist"
    assert refusal(tmp_path) == "is not a file"


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.safetensors"
    save_weights(resnet8(), file)

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refusal(file) == "cannot be read (Permission denied)"


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files(tmp_path: Path, kind: str) -> None:
    file = tmp_path / ("t.safetensors" if kind == "safetensors" else "t.pth")
    if kind == "safetensors":
        save_weights(resnet8(), file)
    else:
        torch.save({"model": resnet8().state_dict()}, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    model = resnet8()
    for length in (0, 1, 5, 10, 100, 1000, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        assert refusal(file, model) == "is truncated, or no file of weights"


@pytest.mark.parametrize("content", [b"hello, this is no checkpoint", b"\x89PNG" + bytes(100), bytes(range(256)) * 4])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "t.pth"
    file.write_bytes(content)
    assert refusal(file) == "is truncated, or no file of weights"


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, {"model": {"a": 1}}, {}])
def test_files_without_a_state_dict(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "t.pth"
    torch.save(content, file)
    assert "holds no state dict" in refusal(file)


def test_another_number_of_classes(tmp_path: Path) -> None:
    file = tmp_path / "t.pth"
    torch.save({"model": resnet8(10).state_dict()}, file)
    assert refusal(file) == "has 10 classes, the data set 100"


def test_another_network_of_the_zoo(tmp_path: Path) -> None:
    file = tmp_path / "t.pth"
    torch.save({"model": build_model("zoo", "wrn_16_1", 10).state_dict()}, file)
    assert refusal(file) == "holds a wrn_16_1, not a resnet8"
    timm_model = build_model("timm", "resnet10t", 10)
    assert refusal(file, timm_model) == "holds a wrn_16_1, not a resnet10t"


def test_an_unknown_network(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    state = dict(resnet8().state_dict())
    state["head.weight"] = state.pop("fc.weight")
    state["conv1.weight"] = torch.zeros(8, 3, 3, 3)
    del state["fc.bias"]
    safetensors.torch.save_file(state, file)
    sentence = refusal(file)
    assert sentence.startswith("does not hold a resnet8: ")
    for part in ("it lacks 'fc.weight' and 1 more", "it has 'head.weight' in excess", "[8, 3, 3, 3] instead of"):
        assert part in sentence


def test_networks_without_a_classifier_are_compared_too(tmp_path: Path) -> None:
    file = tmp_path / "t.pth"
    torch.save(nn.Conv2d(3, 4, 3).state_dict(), file)
    assert re.match(r"does not hold a Conv2d: 'weight' has shape \[4, 3, 3, 3\]", refusal(file, nn.Conv2d(3, 4, 1)))


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    file, teacher = tmp_path / "t.pth", resnet8()
    with torch.no_grad():
        next(teacher.parameters())[0, 0, 0, 0] = float("nan")
    torch.save(teacher.state_dict(), file)
    assert "not finite (conv1.weight)" in refusal(file)


@pytest.mark.parametrize("name", list(ZOO))
def test_every_network_of_the_zoo_is_recognised(name: str) -> None:
    generator = torch.get_rng_state()
    with torch.device("meta"):
        state = ZOO[name](13).state_dict()
    assert recognise(state) == (name, 13)
    assert torch.equal(generator, torch.get_rng_state())
