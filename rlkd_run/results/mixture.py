"""In what runs differ that one mean or one comparison puts together, though no key of their configurations says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rlkd_run.flat import shown
from rlkd_run.results.records import Record
from rlkd_run.words import listed

_PARTS: tuple[tuple[str, Callable[[Record], str | None]], ...] = (
    ("the weights of their teacher", lambda record: record.teacher_weights),
    ("their images", lambda record: record.images),
    ("their own code", lambda record: record.own_code),
    ("the version of rlkd-run", lambda record: record.version),
    ("the version of torch", lambda record: _fact(record, "packages.torch")),
    ("the device", lambda record: _fact(record, "machine.device")),
)
_NAMED = 2  # rows that are named; more are counted


def _fact(record: Record, key: str) -> str | None:
    return None if record.environment.get(key) is None else shown(record.environment[key])


def mixtures(head: str, groups: Iterable[tuple[str, Sequence[Record]]]) -> list[str]:
    """A sentence for each thing that differs within some of the groups: `<head> differ in …: <rows>.`

    Args:
        head: what the runs of a group are.
        groups: runs that should be alike, under the name of their row, which may have several.
    """
    groups = list(groups)
    rows = {name for name, _ in groups}
    lines = []
    for what, part in _PARTS:
        names = dict.fromkeys(name for name, records in groups if len({part(one) for one in records} - {None}) > 1)
        if names:
            where = listed(names) if len(names) <= _NAMED else f"{len(names)} of {len(rows)} rows"
            lines.append(f"{head} differ in {what}: {where}.")
    return lines
