"""Which GPU a job of a sweep sees, where several run on one machine at the same time. Never imports torch."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlkd_run.locks import try_lock

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that a job may use: those of ``CUDA_VISIBLE_DEVICES`` if it is set, else all that the driver knows."""
    chosen = os.environ.get(VISIBLE)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    driver = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(driver.iterdir())))] if driver.is_dir() else []


@contextmanager
def gpu_slot(jobs_per_gpu: int | None, job_number: int) -> Iterator[dict[str, str]]:
    """A place on a GPU, held as long as this is entered; waits for one if all are taken.

    Job n starts to look at place n, so that jobs spread over the GPUs, and takes the next free one. A place is a
    locked file, shared by all sweeps of this user on this machine (in a job of Slurm: within it): a job that ended
    early or was killed has freed the GPU that it was on, whichever that was, which counting job numbers alone would
    not tell.

    Args:
        jobs_per_gpu: places on each GPU; None: whatever the launcher gives.
        job_number: of the sweep, from 0.

    Yields:
        What to add to the job's environment: nothing where there is no GPU or nothing to decide.
    """
    gpus = visible_gpus()
    if jobs_per_gpu is None or not gpus:
        yield {}
        return
    # Two allocations on one node may both call their GPUs 0, 1, …, and mean different ones.
    allocation = "-".join(["rlkd-run-gpus", str(os.getuid()), *filter(None, [os.environ.get("SLURM_JOB_ID")])])
    folder = Path(tempfile.gettempdir(), allocation)
    folder.mkdir(mode=0o700, exist_ok=True)
    places = [(gpu, place) for place in range(jobs_per_gpu) for gpu in gpus]
    while True:
        for offset in range(len(places)):
            gpu, place = places[(job_number + offset) % len(places)]
            with open(folder / f"{gpu.replace(os.sep, '_')}-{place}.lock", "a") as lock:
                if try_lock(lock):
                    yield {VISIBLE: gpu}
                    return
        time.sleep(0.5)
