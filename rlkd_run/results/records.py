"""Run folders on disk -> typed records.

A record that cannot be trusted in full (truncated, of another schema, with a key missing or a number that is none) is
refused as a whole with one sentence that names it: half a record in a mean is worse than one seed less.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlkd_run.flat import flatten, shown
from rlkd_run.models.names import ZOO_NAMES
from rlkd_run.record import RESULT, SCHEMA, STATUS
from rlkd_run.results.fields import Fields, RecordError
from rlkd_run.results.notices import Tell, line_each, tell_on_stderr
from rlkd_run.results.status import standing
from rlkd_run.words import counted

DISTILL = "distill"
TRAIN_TEACHER = "train_teacher"
_ENVIRONMENT = ("packages", "code", "machine")


@dataclass(frozen=True)
class Accuracy:
    """Test accuracy of one run, in percent.

    `best` is of the epoch with the best top-1 (also where this is a top-5), `last` of the final epoch.
    """

    best: float
    last: float


@dataclass(frozen=True)
class Record:
    """What the tables need of one finished run's `result.json`.

    `top1`, `top5` are those of the network that was trained: the student, or the teacher where `task` is
    `train_teacher`; `student`, `method`, `temperature` and `teacher_top1` are None there. A network of timm that is
    called like another one of the zoo has `timm/` before its name. `agent` is the preset of RLKD's agent, None under
    another temperature. `config` is flat: dotted key -> value; so is `environment`, the packages, code and machine as
    far as they are recorded. `teacher_weights` is the SHA-256 of those that taught (an auxiliary's, where one did) and
    `given_weights` of the teacher's itself, None of timm's and in records of earlier versions; `images` is the
    fingerprint of a folder's images; `own_code` the hashes of third parties' modules, `version` that of this project.
    `departures` holds, for method, temperature, agent and student, key -> the run's value and that of the shipped yaml.
    `cell` is the hash of everything that can change the result but the seed. Accuracies in percent.
    """

    folder: Path
    task: str
    dataset: str
    teacher: str
    student: str | None
    method: str | None
    temperature: str | None
    agent: str | None
    seed: int
    epochs: int
    top1: Accuracy
    top5: Accuracy | None
    teacher_top1: float | None
    teacher_top5: float | None
    teacher_weights: str | None
    given_weights: str | None
    images: str | None
    own_code: str
    version: str | None
    images_per_second: float | None
    wall_seconds: float | None
    cell: str
    config: Mapping[str, object]
    departures: Mapping[str, Sequence[object]]
    environment: Mapping[str, object]

    @property
    def pair(self) -> str:
        """`teacher-student`, as in `conf/pair/`; the teacher alone where a teacher was trained."""
        return self.teacher if self.student is None else f"{self.teacher}-{self.student}"

    @property
    def place(self) -> dict[str, object]:
        """`dataset.root` of a data set that is nothing but a folder; of any other, nothing."""
        return {"dataset.root": self.config.get("dataset.root")} if self.dataset == "folder" else {}


def read_record(folder: Path) -> Record:
    """Read the `result.json` of a run folder.

    Raises:
        RecordError: it cannot be read, is no valid JSON, is of another schema, lacks a key, or holds a value that is
            none (NaN, an accuracy beyond 0 to 100). The message is one sentence that names the file.
    """
    file = folder / RESULT
    try:
        return _record(folder, Fields.load(file))
    except RecordError as error:
        raise RecordError(f"{file} is skipped: {error}.") from error


def unusable(folder: Path) -> str | None:
    """The sentence about a finished run that has no result to show, and what to do; None if it has one."""
    file = folder / RESULT
    try:
        _record(folder, Fields.load(file))
    except RecordError as error:
        unread = isinstance(error.__cause__, OSError)  # which says nothing about what is in it
        return f"{file} cannot be used, as {error}" + ("." if unread else f"; remove {folder} to run it anew.")
    return None


def read_records(folders: Iterable[Path], *, below: Path | None = None, tell: Tell = tell_on_stderr) -> list[Record]:
    """Read every finished run of `folders`; never fails for the sake of one record.

    Args:
        folders: run folders, as from `find_runs`.
        below: the folder that all of them lie in, which a list need not repeat.
        tell: receives one sentence on each record that is skipped, and a list of all runs that are not finished.
    """
    records: list[Record] = []
    unfinished: list[tuple[str, str]] = []
    for folder in folders:
        if os.path.lexists(folder / RESULT):
            try:
                records.append(read_record(folder))
            except RecordError as error:
                tell(str(error))
            continue
        found = standing(folder)
        if found.state == "unreadable":
            tell(f"{folder / STATUS} is skipped: {found.detail}.")
        else:
            unfinished.append((str(folder if below in (None, folder) else folder.relative_to(below)), found.words))
    if unfinished:
        tell(line_each(f"{counted(len(unfinished), 'run')} not finished", unfinished))
    return records


def ended_early(folders: Iterable[Path]) -> Counter[str]:
    """How many runs failed, or stopped without a word (killed, say), and so are in no mean; by that state."""
    states = [standing(folder).state for folder in folders if not os.path.lexists(folder / RESULT)]
    return Counter(state for state in states if state in ("failed", "stopped"))


def _record(folder: Path, fields: Fields) -> Record:
    schema = fields.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise RecordError(f"it has schema {json.dumps(schema)} and this version reads schema {SCHEMA}")
    task = fields.text("task")
    if task not in (DISTILL, TRAIN_TEACHER):
        raise RecordError(f"its task is {task!r}, neither {DISTILL} nor {TRAIN_TEACHER}")
    distilled = task == DISTILL
    teacher = fields.child("teacher")
    trained = fields.child("student") if distilled else teacher
    config = flatten(fields.child("config").values)
    return Record(
        folder=folder,
        task=task,
        dataset=fields.text("dataset"),
        teacher=_name(teacher, config.get("teacher.source")),
        student=_name(trained, config.get("student.source")) if distilled else None,
        method=fields.text("method") if distilled else None,
        temperature=fields.text("temperature") if distilled else None,
        agent=fields.text_or_none("agent") if distilled else None,
        seed=fields.whole("seed"),
        epochs=fields.whole("epochs"),
        top1=_top1(trained.child("top1")),
        top5=None if trained.get("top5") is None else _accuracy(trained.child("top5")),
        teacher_top1=teacher.percent("top1") if distilled else None,
        teacher_top5=teacher.percent_or_none("top5") if distilled else None,
        teacher_weights=_weights(fields.child("auxiliary") if "auxiliary" in fields.values else teacher, distilled),
        given_weights=_weights(teacher, distilled),
        images=_fingerprint(fields.values.get("images")),
        own_code=shown(fields.values.get("own_code", [])),
        version=shown(fields.values["code"]) if fields.values.get("code") is not None else None,
        images_per_second=fields.number_or_none("images_per_second"),
        wall_seconds=fields.number_or_none("wall_seconds"),
        cell=fields.child("identity").text("cell"),
        config=config,
        departures=_departures(fields.values.get("departures")),
        environment=flatten({key: fields.values[key] for key in _ENVIRONMENT if key in fields.values}),
    )


def _fingerprint(images: object) -> str | None:
    found = images.get("fingerprint") if isinstance(images, dict) else None
    return None if found is None else shown(found)


def _weights(network: Fields, distilled: bool) -> str | None:
    return network.text_or_none("sha256") if distilled and "sha256" in network.values else None


def _name(network: Fields, source: object) -> str:
    name = network.text("name")
    return f"timm/{name}" if source == "timm" and name in ZOO_NAMES else name


def _departures(value: object) -> dict[str, list[object]]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(two, list) and len(two) == 2 for two in value.values()):
        raise RecordError("its departures are no pairs of values")
    return value


def _top1(fields: Fields) -> Accuracy:
    """The best of all epochs, which the last is one of; of a top-5 that does not hold, as top-1 chooses its epoch."""
    top1 = _accuracy(fields)
    if top1.best < top1.last:
        raise RecordError(f"{fields.path}.best is {top1.best:g}, less than the last epoch's {top1.last:g}")
    return top1


def _accuracy(fields: Fields) -> Accuracy:
    return Accuracy(best=fields.percent("best"), last=fields.percent("last"))
