"""Methods between real, tiny networks: what the tests of methods alone and with policies share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from composed import composed
from torch import Tensor, nn

import rlkd_run.config.builtin  # noqa: F401 - registers the names
from rlkd_run.config.registry import METHODS
from rlkd_run.methods.base import Method, Setting
from rlkd_run.models.build import build_model
from rlkd_run.models.features import Network
from rlkd_run.protocol import Batch, Outputs, Temperatures

CLASSES, IMAGES, EPOCH, EPOCHS = 10, 32, 30, 240
# Source, and side of the images: timm's networks halve their maps five times. `test_resnet` is its smallest ResNet.
STUDENTS = {"resnet8": ("zoo", 8), "test_resnet": ("timm", 16)}


def options_of(name: str) -> Any:
    """A method's options as its yaml gives them."""
    return composed(f"method={name}", "temperature=fixed", "teacher=resnet14", "student=resnet8").method


@functools.cache
def networks(student: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    source, _ = STUDENTS[student]
    return build_model(source, student, CLASSES).to(dtype), build_model("zoo", "resnet14", CLASSES).to(dtype).eval()


@dataclass
class Case:
    """A method between two networks, with a mini-batch."""

    name: str
    student: nn.Module
    teacher: nn.Module
    method: Method
    batch: Batch
    dtype: torch.dtype

    def outputs(self) -> tuple[Outputs, Outputs]:
        with Network(self.student, self.method.needs) as student, Network(self.teacher, self.method.needs) as teacher:
            with torch.no_grad():
                theirs = teacher(self.batch.images)
            return student(self.batch.images), theirs

    def temperatures(self, *shape: int) -> Temperatures:
        return Temperatures.equal(torch.full(shape, 3.0, dtype=self.dtype))

    def parts(self, outputs: tuple[Outputs, Outputs], method: Method | None = None) -> dict[str, Tensor]:
        """With the draws of one and the same seed."""
        torch.manual_seed(7)
        return (method or self.method)(*outputs, self.batch, self.temperatures(), EPOCH)


def setting(student: str, dtype: torch.dtype) -> Setting:
    _, size = STUDENTS[student]
    return Setting(*networks(student, dtype), CLASSES, IMAGES, (3, size, size), EPOCHS)


def method_of(name: str, options: Any, student: str, dtype: torch.dtype, seed: int = 1) -> Method:
    torch.manual_seed(seed)
    method: Method = METHODS[name].load()(options, setting(student, dtype)).to(dtype)
    return method


def case(name: str, student: str = "resnet8", size: int = 4, dtype: torch.dtype = torch.float64) -> Case:
    where = setting(student, dtype)
    method = method_of(name, options_of(name), student, dtype)
    generator = torch.Generator().manual_seed(size)
    images = torch.randn(size, *where.image_shape, dtype=dtype, generator=generator)
    target = torch.randint(CLASSES, (size,), generator=generator)
    return Case(name, where.student, where.teacher, method, Batch(images, target, torch.arange(size)), dtype)
