"""What a method and a policy have to keep, whoever wrote them: each breach in a sentence that names who broke it.

Signatures, types, shapes and whether there is a gradient are looked at, which the host knows; a value would have to be
waited for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlkd_run.errors import ConfigError
from rlkd_run.protocol import Temperatures

T = TypeVar("T")


def name_of(kind: type) -> str:
    """How messages call a class: where it is, so that its author finds it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def built(kind: Any, base: type[T], options: Any, setting: Any) -> T:
    """An instance of a registered class.

    Args:
        kind: what was registered.
        base: what it has to be a subclass of.
        options, setting: what it is built from.

    Raises:
        ConfigError: it is no such class, it or a method of it takes other arguments than it is given, or it is a module
            that was not set up.
    """
    if not isinstance(kind, type) or not issubclass(kind, base):
        name = name_of(kind) if isinstance(kind, type) else repr(kind)
        raise ConfigError(f"{name} must be a subclass of {name_of(base)}.")
    make: Callable[[Any, Any], T] = kind
    try:
        inspect.signature(kind).bind(options, setting)
    except TypeError as error:
        raise ConfigError(f"{name_of(kind)}.__init__ must take (self, options, setting): {error}.") from error
    _check_signatures(kind, base)
    not_set_up = f"{name_of(kind)}.__init__ must call super().__init__() before anything else."
    try:
        made = make(options, setting)
    except AttributeError as error:
        if "before Module.__init__()" not in str(error):
            raise
        raise ConfigError(not_set_up) from error
    if isinstance(made, nn.Module) and "_modules" not in vars(made):
        raise ConfigError(not_set_up)
    return made


def _check_signatures(kind: type, base: type) -> None:
    """Whether what a class has in place of its base's methods can be called as those are, i.e. by position.

    Only plain functions are looked at, as they are called: what `functools.wraps` says of a decorated one is how the
    function inside is called, and a static one is not given the instance.
    """
    for name, original in vars(base).items():
        own = inspect.getattr_static(kind, name)
        if name == "__init__" or own is original or not inspect.isfunction(original) or not inspect.isfunction(own):
            continue
        arguments = list(inspect.signature(original).parameters)
        try:
            inspect.signature(own, follow_wrapped=False).bind(*arguments)
        except TypeError as error:
            raise ConfigError(f"{name_of(kind)}.{name} must take ({', '.join(arguments)}): {error}.") from error


def check_temperatures(policy: object, given: Any, size: int) -> Temperatures:
    """What a policy gave for a mini-batch.

    Args:
        policy: who gave it.
        given: what.
        size: B.

    Raises:
        ConfigError: it is not `Temperatures` of tensors, 0-dim or [B].
    """
    if isinstance(given, Temperatures):
        wrong = [value for value in given if not isinstance(value, Tensor) or value.shape not in ((), (size,))]
        if not wrong:
            return given
        found = f"Temperatures with {_described(wrong[0])}"
    else:
        found = _described(given)
    raise ConfigError(
        f"{name_of(type(policy))}.temperatures must return Temperatures(teacher, student), each a tensor of shape [] "
        f"or [B], here [{size}], and returned {found}; Temperatures.equal(T) makes them of one tensor T."
    )


def check_parts(method: object, given: Any) -> dict[str, Tensor]:
    """What a method gave for a mini-batch.

    Raises:
        ConfigError: it is not a dict of 0-dim tensors, or none of them depends on what is trained.
    """
    if not isinstance(given, dict) or not given:
        raise ConfigError(f"{_gives_parts(method)}, and returned {_described(given)}.")
    for name, part in given.items():
        if not isinstance(part, Tensor) or part.dim():
            hint = "; its mean over the batch, say, is 0-dim" if isinstance(part, Tensor) else ""
            raise ConfigError(f"{_gives_parts(method)}, and returned {_described(part)} as '{name}'{hint}.")
    if torch.is_grad_enabled() and not any(part.requires_grad for part in given.values()):
        raise ConfigError(
            f"{_gives_parts(method)}, and none of these depends on the student: {', '.join(map(str, given))}; detach() "
            "cuts a loss off from it."
        )
    return given


def _gives_parts(method: object) -> str:
    return f"{name_of(type(method))}.forward must return a dict of the loss's parts, each a 0-dim tensor by its name"


def reads_none(method: object) -> str:
    """Say that a method has read no temperature, though it is registered as one that does."""
    return (
        f"{name_of(type(method))} reads no temperature, so that a policy has nothing to set; register it with "
        "uses_temperature=False"
    )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return "an empty dict" if value == {} else f"a value of type {type(value).__name__}"


class WatchedTemperatures(Temperatures):
    """Temperatures that note whether somebody reads them.

    Attributes:
        was_read: whether it has happened.
    """

    was_read = False

    def __iter__(self) -> Iterator[Tensor]:
        self.was_read = True
        return super().__iter__()

    def __getitem__(self, key: Any) -> Any:
        self.was_read = True
        return super().__getitem__(key)

    @property
    def teacher(self) -> Tensor:
        """See `Temperatures`."""
        value: Tensor = self[0]
        return value

    @property
    def student(self) -> Tensor:
        """See `Temperatures`."""
        value: Tensor = self[1]
        return value
