"""Which of the images on disk a run trains on, validates on and probes with: by position alone, never by chance.

Three rules, in this order, on the images in the order of the files:

1. ``train_limit`` (``test_limit``) n: round by round, the next image of every class in the order of the labels, until
   there are n. Every class has n / C images, give or take one, as long as it has so many.
2. ``val_split`` s: the last images of every class, a share s of it rounded to the nearest whole number (half: up);
   at least one image of a class stays.
3. ``probe_images`` n: round by round, the last remaining image of every class, until there are n; at least one image
   of a class stays.

What is selected keeps the order of the files.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlkd_run.errors import ConfigError


class TrainingSplit(NamedTuple):
    """Positions among the training images on disk, ascending and disjoint, each [*] int64."""

    train: Tensor
    val: Tensor
    probe: Tensor


def limited(labels: Tensor, limit: int | None, option: str) -> Tensor:
    """Positions of the first `limit` images, class-balanced (rule 1).

    Args:
        labels: of all images of a split, [N] int64.
        limit: number of images to keep; None: all.
        option: key of the limit, for the complaint.

    Raises:
        ConfigError: there are fewer images.
    """
    if limit is None:
        return torch.arange(len(labels))
    if limit > len(labels):
        raise ConfigError(
            f"{option}={limit} is more than the {len(labels)} images there are; use null for all of them."
        )
    rank, _ = _ranks(labels)
    return _first(_rounds(rank, labels), limit)


def split_training(labels: Tensor, train_limit: int | None, val_split: float, probe_images: int) -> TrainingSplit:
    """Divide the training images on disk among training, validation and probe (rules 1, 2, 3).

    Args:
        labels: of all training images on disk, [N] int64.
        train_limit: number of images to use at all; None: all.
        val_split: share held out for validation, in [0, 1).
        probe_images: number of images set aside for the probe batch.

    Raises:
        ConfigError: more images are asked for than there are, or `val_split` holds out none.
    """
    used = limited(labels, train_limit, "dataset.train_limit")
    kept, val = _hold_out(labels[used], val_split)
    rest = used[kept]
    train, probe = _set_aside(labels[rest], probe_images)
    return TrainingSplit(rest[train], used[val], rest[probe])


def _hold_out(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    rank, counts = _ranks(labels)
    held = torch.floor(counts.double() * share + 0.5).long().minimum((counts - 1).clamp(min=0))
    is_held = rank >= (counts - held)[labels]
    if share > 0 and not bool(is_held.any()):
        raise ConfigError(
            f"dataset.val_split={share} holds out no image: the largest class has {int(counts.max())} training images."
        )
    return (~is_held).nonzero().flatten(), is_held.nonzero().flatten()


def _set_aside(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rank, counts = _ranks(labels)
    available = int((counts - 1).clamp(min=0).sum())
    if count == 0:
        return torch.arange(len(labels)), torch.arange(0)
    if count > available:
        raise ConfigError(
            f"{count} probe images are to be set aside, but only {available} of the {len(labels)} training images can "
            "be, for one image of each class must stay; lower agent.probe_images or raise dataset.train_limit."
        )
    candidates = (rank > 0).nonzero().flatten()
    from_the_end = (counts[labels] - 1 - rank)[candidates]
    probe = candidates[_first(_rounds(from_the_end, labels[candidates]), count)]
    is_probe = torch.zeros(len(labels), dtype=torch.bool)
    is_probe[probe] = True
    return (~is_probe).nonzero().flatten(), probe


def _ranks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Position of each image within its class, [N], and the size of each class, [C]."""
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts[labels[order]]
    return rank, counts


def _rounds(rank: Tensor, labels: Tensor) -> Tensor:
    """A number for each image that grows round by round and, within a round, with the label."""
    return rank * (int(labels.max()) + 1) + labels


def _first(numbers: Tensor, count: int) -> Tensor:
    return torch.argsort(numbers, stable=True)[:count].sort().values
