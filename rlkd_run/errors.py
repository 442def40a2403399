"""The ways a run may end early, and the exit code of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ConfigError(Exception):
    """A mistake of the user's: bad configuration, missing or damaged input files.

    Every problem is one sentence that says what is wrong, where, and what would be right.
    The command prints the sentences and exits with code 2; nothing has been written.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class FolderBusy(ConfigError):
    """Another process is at work in the run folder, so that this one must keep its hands off it."""


class RunError(Exception):
    """A run that started well and cannot go on (loss not finite, disk full, ...): one sentence, exit code 1."""

    exit_code = 1


class Interrupted(BaseException):
    """A signal asked the run to stop; its state is saved. Exit code 128 + signal number.

    Like `KeyboardInterrupt` no `Exception`: a launcher that goes on after a failed job must not go on after this.
    """

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
        super().__init__(f"stopped by signal {signal_number}")

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """Travels between processes, as a launcher's workers need it."""
        return Interrupted, (self.signal_number,)


@contextmanager
def about(key: str) -> Iterator[None]:
    """Let the complaints of what is done inside begin with the full key of the option that they are about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{key}: {problem}" for problem in error.problems) from error


def in_a_line(error: BaseException) -> str:
    """The first line of what an error says, without its full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
