"""What tells the rows of a table apart: those of one name, and those whose names do not say all that differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlkd_run.flat import FlatConfig
from rlkd_run.results.records import TRAIN_TEACHER, Record
from rlkd_run.results.settings import beyond_networks, differing, of_teacher, settings_of, settled

_NAMED = ("method.", "temperature.", "agent.")  # keys of what a row's name says


def row_name(record: Record) -> tuple[str | None, ...]:
    """What a row is called: the networks, the method, the temperature and the agent's preset, on a data set."""
    return (record.dataset, record.pair, record.method, record.temperature, record.agent)


def row_settings(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """`key=value` of what tells each row from the others of its table.

    Rows of one name are told apart by all keys in which they differ. Rows of one data set whose names differ are held
    together as well, since nobody would compare a run of 4 epochs with one of 40: where they differ in what neither
    the name says nor follows from the networks, every row has those keys. In what goes with the networks (the
    teacher's weights, say) only rows of the same pair are held together.

    Args:
        records: of one task, one a row.

    Returns:
        For each record its settings in the order of the keys; empty where there is nothing to tell.
    """
    configs = [_own(record) for record in records]
    told: list[tuple[str, ...]] = [()] * len(records)
    for same_data in _grouped(range(len(records)), [(record.dataset,) for record in records]):
        everywhere = differing(
            [_unnamed(beyond_networks(configs[i], records[i].departures)) | records[i].place for i in same_data]
        )
        for same_pair in _grouped(same_data, [(record.pair,) for record in records]):
            here = differing([_unnamed(settled(configs[i])) for i in same_pair])
            for rows in _grouped(same_pair, [row_name(record) for record in records]):
                settings = settings_of(
                    [configs[i] for i in rows], [records[i].cell for i in rows], also=[*everywhere, *here]
                )
                for i, own in zip(rows, settings, strict=True):
                    told[i] = own
    return told


def _own(record: Record) -> FlatConfig:
    return of_teacher(record.config) if record.task == TRAIN_TEACHER else record.config


def _unnamed(config: FlatConfig) -> dict[str, object]:
    return {key: value for key, value in config.items() if not key.startswith(_NAMED)}


def _grouped(rows: Iterable[int], names: Sequence[tuple[str | None, ...]]) -> list[list[int]]:
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for i in rows:
        groups.setdefault(names[i], []).append(i)
    return list(groups.values())
