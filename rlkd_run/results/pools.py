"""Which runs are compared with which, which of these are pooled over pairs of networks, and what that is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rlkd_run.flat import FlatConfig, shown
from rlkd_run.results.aggregate import Cell
from rlkd_run.results.notices import Tell
from rlkd_run.results.paper_recipe import Deviation
from rlkd_run.results.records import Record
from rlkd_run.results.settings import beyond_networks, differing, settled
from rlkd_run.words import listed

Item = TypeVar("Item")
Match = tuple[Cell, Cell]
"""RLKD and another temperature: cells with runs of equal seed that differ in nothing else."""
Partners = tuple[Record, Record]
"""Two runs of a match that are compared."""

_TREATMENT = "rlkd"
_BASELINES = ("fixed", "random")
_OWN = ("temperature.", "agent.")  # keys that a comparison of temperatures is about
_CELL = "cell"  # in place of a key where configurations are equal


@dataclass(frozen=True)
class Pool:
    """Matches of different pairs that differ in nothing but the networks and what follows them.

    Attributes:
        matches: at least one.
        treatment, baseline: the two temperatures, with the options that tell them from others.
        settings: `key=value` of what tells the runs from others under these temperatures.
        deviations: where any of the runs leaves the recipe of the literature.
    """

    matches: tuple[Match, ...]
    treatment: str
    baseline: str
    settings: tuple[str, ...]
    deviations: tuple[Deviation, ...]


def pools(cells: Sequence[Cell]) -> list[Pool]:
    """Match every RLKD with fixed and random temperatures, and pool over pairs what was run alike.

    Args:
        cells: distilled students, in the order of the tables.
    """
    baselines = _by(_surroundings, (cell for cell in cells if cell.first.temperature in _BASELINES))
    matches = [
        (treatment, baseline)
        for treatment in _treatments(cells)
        for baseline in baselines.get(_surroundings(treatment), ())
        if partners((treatment, baseline))
    ]
    pooled = [part for pool in _by(_conditions, matches).values() for part in _each_pair_once(pool)]
    return [pool for alike in _by(_heading, pooled).values() for pool in _told_apart(alike)]


def partners(match: Match) -> list[Partners]:
    """The runs of equal seed that learned from a teacher of the same weights, as far as their records tell.

    No key of a configuration tells the weights of a teacher that was trained twice, or of a file that was exchanged.
    """
    treatment, baseline = match
    others = {record.seed: record for record in baseline.records}
    return [
        (record, others[record.seed])
        for record in treatment.records
        if record.seed in others and len({record.teacher_weights, others[record.seed].teacher_weights} - {None}) < 2
    ]


def tell_unmatched(cells: Sequence[Cell], tell: Tell) -> None:
    """Say of which RLKD there is no comparison although its pair was run at other temperatures, and what is in the way.

    Args:
        cells: distilled students.
        tell: receives a sentence a data set.
    """
    baselines = _by(_networks, (cell for cell in cells if cell.first.temperature in _BASELINES))
    for dataset, treatments in _by(lambda cell: cell.first.dataset, _treatments(cells)).items():
        unmatched: dict[str, None] = {}
        keys: dict[str, None] = {}
        for treatment in treatments:
            obstacles = [_obstacles(treatment, baseline) for baseline in baselines.get(_networks(treatment), ())]
            if obstacles and all(obstacles):
                unmatched[f"{treatment.first.method} on {treatment.first.pair}"] = None
                keys |= dict.fromkeys(sorted(obstacles, key=len)[0])
        if unmatched:
            tell(
                f"On {dataset} some RLKD has no fixed or random temperature to be compared with: {listed(unmatched)} "
                f"(the nearest runs differ in {listed(keys)} as well)."
            )


def _treatments(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.first.temperature == _TREATMENT]


def _by(key: Callable[[Item], object], items: Iterable[Item]) -> dict[object, list[Item]]:
    groups: dict[object, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _networks(cell: Cell) -> tuple[object, ...]:
    record = cell.first
    return (record.dataset, record.pair, record.method, record.epochs)


def _surroundings(cell: Cell) -> tuple[object, ...]:
    """Everything but the temperature and the seed."""
    return (*_networks(cell), _frozen(_around(cell.first, _settled)))


def _obstacles(treatment: Cell, baseline: Cell) -> list[str]:
    """Because of which keys two cells of equal networks are no match."""
    keys = differing([_around(cell.first, _settled) for cell in (treatment, baseline)])
    if keys or partners((treatment, baseline)):
        return keys
    return ["the teacher's weights"] if set(treatment.seeds) & set(baseline.seeds) else ["seed"]


def _around(record: Record, part: Callable[[Record], FlatConfig]) -> FlatConfig:
    """`part` of a configuration without the temperature; of images in a folder, with that folder."""
    return {**{key: value for key, value in part(record).items() if not key.startswith(_OWN)}, **record.place}


def _settled(record: Record) -> FlatConfig:
    """A teacher whose weights were given counts as these, wherever they lay."""
    config = settled(record.config)
    if config.get("teacher.checkpoint") is None or record.given_weights is None:
        return config
    return {**config, "teacher.checkpoint": record.given_weights}


def _beyond_networks(record: Record) -> FlatConfig:
    """A given teacher counts as one that is trained, so that pairs with and without one can be pooled."""
    return beyond_networks({**record.config, "teacher.checkpoint": None}, record.departures)


def _temperature(record: Record) -> FlatConfig:
    """The options of the temperature, and those of the agent where one acts."""
    prefixes = _OWN if record.agent is not None else _OWN[:1]
    return {key: value for key, value in settled(record.config).items() if key.startswith(prefixes)}


def _frozen(config: FlatConfig) -> frozenset[tuple[str, str]]:
    return frozenset((key, shown(value)) for key, value in config.items())


def _conditions(match: Match) -> tuple[object, ...]:
    """What matches must have in common to be pooled."""
    first = match[0].first
    return (
        *(first.dataset, first.method, first.epochs),
        _frozen(_around(first, _beyond_networks)),
        _frozen(_departures([match])),
        *((cell.temperature, _frozen(_temperature(cell.first))) for cell in match),
    )


def _departures(pool: Sequence[Match]) -> FlatConfig:
    """Where matches leave the recipe of the literature, but for the temperature."""
    found = [deviation for match in pool for cell in match for deviation in cell.deviations]
    return {one.key: one.value for one in found if not one.key.startswith(_OWN)}


def _each_pair_once(pool: Sequence[Match]) -> list[list[Match]]:
    """Split a pool in which a pair was run under several settings of what otherwise follows the networks."""
    if len({treatment.first.pair for treatment, _ in pool}) == len(pool):
        return [list(pool)]
    others = _by(_other_settings, pool)
    return list(others.values())


def _other_settings(match: Match) -> tuple[str, ...]:
    return tuple(setting for cell in match for setting in cell.settings if not setting.startswith(_OWN))


def _heading(pool: Sequence[Match]) -> tuple[object, ...]:
    """What a row says without any settings."""
    treatment, baseline = pool[0]
    first = treatment.first
    return (first.dataset, first.method, first.epochs, treatment.temperature, baseline.temperature)


def _told_apart(alike: Sequence[Sequence[Match]]) -> list[Pool]:
    """Name, of pools under one heading, the keys in which they differ, and those that tell their cells from others."""
    around = differing([{**_around(pool[0][0].first, _beyond_networks), **_departures(pool)} for pool in alike])
    options = [differing([_temperature(pool[0][side].first) for pool in alike]) for side in (0, 1)]
    told = []
    for pool in alike:
        treatments, baselines = [match[0] for match in pool], [match[1] for match in pool]
        cells = [*treatments, *baselines]
        others = [key for key in _keys(cells) if not key.startswith((*_OWN, _CELL))]
        deviations = dict.fromkeys(deviation for cell in cells for deviation in cell.deviations)
        told.append(
            Pool(
                matches=tuple(pool),
                treatment=_name(treatments, options[0]),
                baseline=_name(baselines, options[1]),
                settings=_settings(cells, [*around, *others]),
                deviations=tuple(deviations),
            )
        )
    return told


def _name(cells: Sequence[Cell], keys: Sequence[str]) -> str:
    own = _settings(cells, [*keys, *(key for key in _keys(cells) if key.startswith((*_OWN, _CELL)))])
    return f"{cells[0].temperature} ({', '.join(own)})" if own else cells[0].temperature


def _keys(cells: Sequence[Cell]) -> list[str]:
    return [setting.partition("=")[0] for cell in cells for setting in cell.settings]


def _settings(cells: Sequence[Cell], keys: Iterable[str]) -> tuple[str, ...]:
    """`key=value` of the keys that have one value in all of `cells`."""
    told = []
    for key in sorted(set(keys)):
        values = {shown(_value(cell, key)) for cell in cells}
        if len(values) == 1:
            told.append(f"{key}={values.pop()}")
    return tuple(told)


def _value(cell: Cell, key: str) -> object:
    return {**cell.first.config, **settled(cell.first.config), _CELL: cell.first.cell}.get(key)
