"""Which cases a benchmark compares, and with which reference. Never imports torch: the parent stays small."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from bench_parts.child import Child
from rlkd_run.config.composition import compose_command
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError

WITH_REFERENCE = ("fixed", "rlkd")  # what the reference loop can do, with method=kd


class Variant(NamedTuple):
    """Some overrides under a name."""

    label: str
    overrides: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Variant:
        """From ``label:override override ...``; nothing after the colon: the defaults.

        Raises:
            ValueError: there is no label.
        """
        label, colon, overrides = text.partition(":")
        if not label or not colon or "=" in label:
            raise ValueError(f"'{text}' is not LABEL:OVERRIDES, e.g. plain:runtime.channels_last=false")
        return cls(label, tuple(shlex.split(overrides)))


class Case(NamedTuple):
    """One row of the tables.

    Attributes:
        name: for people.
        kind: "project" or "reference".
        overrides: as typed to `rlkd-run`.
        policy: the temperature policy.
        batch: images a step.
        reference: name of the case that does the same work in the reference loop; None if none does.
        first: name of the project's case with the first variant; None of a reference.
        answers: folder for the teacher's answers where they are kept (runtime.teacher_cache), else None.
    """

    name: str
    kind: str
    overrides: tuple[str, ...]
    policy: str
    batch: int
    reference: str | None = None
    first: str | None = None
    answers: str | None = None

    def start(self, images: int, data: str | None) -> Child:
        """The case in a process of its own. See `measured.Project` for the arguments."""
        shared = {"overrides": list(self.overrides), "images": images, "data": data}
        if self.kind == "reference":
            return Child("bench_parts.measured:Reference", **shared, agent=self.policy == "rlkd")
        return Child("bench_parts.measured:Project", **shared, answers=self.answers)


def one_run(overrides: Sequence[str]) -> RunConfig:
    """The run that the overrides ask for.

    Raises:
        ConfigError: they are mistaken, or ask for several.
    """
    runs = compose_command(overrides).runs
    if len(runs) != 1:
        raise ConfigError(f"one run is measured at a time, and these overrides sweep over {len(runs)}.")
    return runs[0]


def pair_of(text: str) -> tuple[str, str]:
    """Teacher and student of ``teacher-student``, whether or not the paper has the pair.

    Raises:
        ConfigError: it is not of this form.
    """
    teacher, dash, student = text.partition("-")
    if not dash:
        raise ConfigError(f"'{text}' is not a pair TEACHER-STUDENT, e.g. resnet56-resnet20")
    return teacher, student


def overrides_of(pair: str, method: str, policy: str, batch: int, common: Sequence[str]) -> tuple[str, ...]:
    """What `rlkd-run` would be told. A pair is ``teacher-student``, whether or not the paper has it.

    Raises:
        ConfigError: it is not; or what is in common would make another case of it than its name says.
    """
    teacher, student = pair_of(pair)
    for key in ("teacher", "student", "method", "temperature"):
        if any(text.partition("=")[0] == key for text in common):
            raise ConfigError(f"{key} is part of a case's name and has an option of its own, so no --override sets it.")
    chosen = (f"teacher={teacher}", f"student={student}", f"method={method}", f"temperature={policy}")
    return (*chosen, f"recipe.batch_size={batch}", *common)


def plan(
    pairs: Sequence[str],
    methods: Sequence[str],
    policies: Sequence[str],
    variants: Sequence[Variant],
    batch: int,
    common: Sequence[str],
    *,
    reference: bool,
) -> list[Case]:
    """All cases, each reference before what is compared with it.

    Args:
        pairs, methods, policies, variants: their product is measured.
        batch: images a step.
        common: overrides of every case; those of the data set do not reach the reference loop.
        reference: whether to run the reference loop at all.
    """
    cases: dict[str, Case] = {}
    for pair in pairs:
        for method in methods:
            for policy in policies:
                shared = overrides_of(pair, method, policy, batch, common)
                compared = reference and method == "kd" and policy in WITH_REFERENCE
                plain = f"{pair} {method} {policy}"
                loop = f"{plain} (reference loop)" if compared else None
                if loop is not None:
                    cases[loop] = Case(loop, "reference", shared, policy, batch)
                names = [plain if len(variants) == 1 else f"{plain} [{variant.label}]" for variant in variants]
                for name, variant in zip(names, variants, strict=True):
                    overrides = (*shared, *variant.overrides)
                    cases[name] = Case(name, "project", overrides, policy, batch, loop, names[0])
    return list(cases.values())
