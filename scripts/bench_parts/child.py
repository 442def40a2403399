"""An object that lives in a fresh process of its own and answers one call at a time.

Each measured case gets one: its peak memory is its own, and while one case works the others sleep.
"""

from __future__ import annotations

import importlib
import multiprocessing
import traceback
from multiprocessing.connection import Connection
from typing import Any

from rlkd_run.errors import ConfigError


class ChildError(Exception):
    """What was asked of a child failed there; the message is its traceback."""


class Child:
    """A started process.

    Args:
        target: ``module:class``.
        arguments: keyword arguments of the class; plain values.
    """

    def __init__(self, target: str, **arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the parent's memory and threads
        self._connection, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, target, arguments))
        self._process.start()
        end.close()

    def ready(self) -> None:
        """Wait until the object is made.

        Raises:
            ChildError: it could not be.
            ConfigError: for a mistake of the user's.
        """
        self._answer()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method there; plain values only.

        Raises:
            ChildError: it failed.
            ConfigError: for a mistake of the user's.
        """
        self._connection.send((method, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _answer(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except EOFError:
            self._process.join()
            raise ChildError(f"a measured process ended with exit code {self._process.exitcode}") from None
        if kind is not None:
            raise kind(value)
        return value


def _serve(connection: Connection, target: str, arguments: dict[str, Any]) -> None:
    module, name = target.split(":")
    try:
        made = getattr(importlib.import_module(module), name)(**arguments)
        connection.send((None, None))
        while True:
            method, values = connection.recv()
            connection.send((None, getattr(made, method)(*values)))
    except (EOFError, KeyboardInterrupt):  # the parent is done, or was stopped
        return
    except ConfigError as error:
        connection.send((ConfigError, error.problems))
    except Exception:  # noqa: BLE001 - whatever it is, the parent shall say it
        connection.send((ChildError, traceback.format_exc()))
