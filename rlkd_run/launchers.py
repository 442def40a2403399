"""What Hydra's launchers do where they cannot start, or one of their jobs dies: one sentence, and the others go on."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from rlkd_run.errors import in_a_line

_FULL_ERROR = "HYDRA_FULL_ERROR"
_FOR_GOOD = ("CANCELLED", "TIMEOUT", "DEADLINE")


@contextmanager
def candid_launcher(kind: str) -> Iterator[list[int]]:
    """While entered, a launcher raises what is wrong, where Hydra would print a traceback and exit.

    Args:
        kind: see `Command.launcher_kind`.

    Yields:
        The numbers of the jobs, from 0, that the scheduler has ended for good: cancelled, or their time used up.
    """
    asked = os.environ.get(_FULL_ERROR)
    ended: list[int] = []
    with ExitStack() as stack:
        if kind == "submitit":
            stack.enter_context(_patient_submitit(ended))
        os.environ[_FULL_ERROR] = "1"
        try:
            yield ended
        except Exception:
            if asked == "1":
                traceback.print_exc()
            raise
        finally:
            if asked is None:
                del os.environ[_FULL_ERROR]
            else:
                os.environ[_FULL_ERROR] = asked


@contextmanager
def _patient_submitit(ended: list[int]) -> Iterator[None]:
    """Let submitit's launcher wait for all of its jobs, also if one has no result.

    It would give up at the first one that was killed, while the others run on. Nobody reads what it asks them for: what
    became of a run is told by its folder.
    """
    import submitit
    from submitit.core.utils import UncompletedJobError

    wait = submitit.Job.results
    jobs: list[str] = []  # in the order in which the launcher asks them; a job of several tasks asks these itself

    def results(job: submitit.Job[Any]) -> list[Any]:
        if job.job_id not in jobs:
            jobs.append(job.job_id)
        try:
            found = wait(job)
            error = next((one._return_value for one in found if _has_failed(one)), None)
        except UncompletedJobError as lost:
            found, error = [], lost
        if error is None:
            return found
        # What submitit says of a job that is lost begins with a path.
        why = in_a_line(error) if found else job.state
        print(f"job       {job.job_id} ended without a result: {why}", flush=True)
        # submitit itself says so where a job was at its limit of requeues when its time was up.
        used_up = bool(found) and isinstance(error, UncompletedJobError)
        if used_up or job.state.startswith(_FOR_GOOD):
            ended.append(jobs.index(job.job_id))
        return [JobReturn(status=JobStatus.COMPLETED)]

    submitit.Job.results = results  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        submitit.Job.results = wait  # type: ignore[method-assign]


def _has_failed(found: Any) -> bool:
    return isinstance(found, JobReturn) and found.status is JobStatus.FAILED
