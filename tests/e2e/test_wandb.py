"""Weights & Biases, offline: nothing leaves the machine."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import TINY, Ended, save_untrained_teacher

RUN = [*TINY, "teacher.checkpoint=teacher.safetensors", "temperature=fixed", "runtime.wandb=tiny"]


def entries(log: bytes) -> Iterator[bytes]:
    """What a log in LevelDB's format holds: blocks of 32 KiB, in them pieces with check sum, length and kind."""
    position, entry = 7, b""  # after the file's own header
    while position + 7 <= len(log):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", log, position)
        position += 7
        entry += log[position : position + length]
        position += length
        if kind in (1, 4):  # whole, or its last piece
            yield entry
            entry = b""


def test_every_epoch_is_logged(rlkd_run_process: Callable[..., Ended]) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed: pip install 'rlkd-run[wandb]'")
    from wandb.proto.wandb_internal_pb2 import Record

    save_untrained_teacher()
    ended = rlkd_run_process(*RUN, "runtime.wandb_mode=offline", "series=mine")
    assert ended.code == 0, ended.err
    assert "wandb" not in ended.out.split("\nin outputs")[0]  # it is silent
    (folder,) = Path("outputs/mine").iterdir()
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records = [Record.FromString(data) for data in entries(file.read_bytes())]
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.display_name, run.run_group) == ("tiny", folder.name, "mine")
    assert re.fullmatch(rf"{re.escape(folder.name)}-[0-9a-f]{{4}}", run.run_id), "another run than that of other series"
    assert json.loads(next(item.value_json for item in run.config.update if item.key == "recipe"))["epochs"] == 2
    rows = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    result = json.loads((folder / "result.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["test_top1"] == result["student"]["top1"]["last"]


def test_without_the_extra_there_is_one_sentence(
    rlkd_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ended = rlkd_run(*TINY, "runtime.wandb=tiny")
    assert ended.code == 2
    assert ended.err == "rlkd-run: runtime.wandb=tiny needs Weights & Biases: pip install 'rlkd-run[wandb]'.\n"
    assert not list(Path().iterdir())
