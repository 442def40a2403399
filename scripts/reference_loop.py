"""A plain distillation loop, the way existing tools write it: what the benchmark compares this project with.

PIL images through torchvision transforms in two DataLoader workers; NCHW, eager, fp32; the teacher's forward under
no_grad; meters that read the device at every step; RLKD's agent as a Python loop over the instances of a batch. The
networks are this project's, so that a ratio says something about the loop and not about the networks.

Where existing tools differ among themselves, the cheaper way is taken: workers persist over epochs, memory is pinned on
a GPU, cuDNN chooses its fastest kernels, an instance costs one forward pass of the actor alone, and no reward
calibration is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import get_all_start_methods
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
CE_WEIGHT, KD_WEIGHT, TEMPERATURE = 0.1, 0.9, 4.0
T_MIN, T_MAX = 1.0, 10.0
WORKERS = 2


class PilImages(Dataset[tuple[Tensor, int]]):
    """Pixels [N, H, W, 3] uint8 and labels [N], one PIL image at a time."""

    def __init__(self, pixels: np.ndarray[Any, Any], labels: list[int], pad: int = 4) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(pixels.shape[1], padding=pad),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[position])), self.labels[position]


class Shuffled(Sampler[int]):
    """The first `count` positions of a fresh shuffle, so that an epoch can be as short as a measurement."""

    def __init__(self, number: int) -> None:
        self.number = self.count = number

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.number)[: self.count].tolist()


class AverageMeter:
    """Current value and running mean of a number."""

    def __init__(self) -> None:
        self.value = self.sum = self.average = 0.0
        self.count = 0

    def update(self, value: float, number: int) -> None:
        self.value = value
        self.sum += value * number
        self.count += number
        self.average = self.sum / self.count


@torch.no_grad()
def accuracy(logits: Tensor, target: Tensor, ks: tuple[int, ...] = (1, 5)) -> list[Tensor]:
    """Share in percent of labels among the k largest logits, for each k."""
    best = logits.topk(max(ks), dim=1).indices.t()
    correct = best.eq(target.view(1, -1).expand_as(best))
    return [correct[:k].reshape(-1).float().sum() * 100 / len(target) for k in ks]


def kd_loss(student: Tensor, teacher: Tensor, temperature: Tensor) -> Tensor:
    """Mean over the batch of T^2 KL(softmax(v / T) || softmax(u / T)).

    Args:
        student, teacher: logits u and v, [B, C].
        temperature: T, 0-dim or [B].
    """
    temperature = temperature.reshape(-1, 1)
    log_p = F.log_softmax(student / temperature, dim=1)
    q = F.softmax(teacher / temperature, dim=1)
    return (F.kl_div(log_p, q, reduction="none").sum(1) * temperature.squeeze(1) ** 2).mean()


def mlp(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs))


class InstanceAgent:
    """RLKD's agent, one instance of the batch after the other."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.actor, self.critic = mlp(1).to(device), mlp(1).to(device)
        self.log_std = nn.Parameter(torch.full((1,), -0.5, device=device))
        self.optimizers = [
            torch.optim.Adam([*self.actor.parameters(), self.log_std], lr=3e-4),
            torch.optim.Adam(self.critic.parameters(), lr=1e-3),
        ]
        self.last_accuracy = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget the rollout."""
        self.states: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.log_probs: list[Tensor] = []

    @torch.no_grad()
    def act(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Temperatures [B] from the logits [B, C] of both networks."""
        p_teacher, p_student = teacher.softmax(dim=1), student.softmax(dim=1)
        temperatures = []
        for i in range(len(student)):
            largest, second = p_student[i].topk(2).values
            values = [p_teacher[i].max().item(), largest.item(), (largest - second).item()]
            state = torch.tensor(values, device=self.device)
            policy = torch.distributions.Normal(torch.tanh(self.actor(state)), self.log_std.exp())
            action = policy.sample()
            self.states.append(state)
            self.actions.append(action)
            self.log_probs.append(policy.log_prob(action))
            temperatures.append(T_MIN + (T_MAX - T_MIN) * torch.sigmoid(action))
        return torch.cat(temperatures)

    def learn(self, accuracy_now: float) -> None:
        """One PPO update on the batch that has just acted; its reward is the change of batch accuracy."""
        states, actions = torch.stack(self.states), torch.stack(self.actions)
        old = torch.stack(self.log_probs)
        returns = torch.full_like(actions, (accuracy_now - self.last_accuracy) / 100)
        self.last_accuracy = accuracy_now
        for _ in range(5):
            values = self.critic(states)
            gains = (returns - values).detach()
            policy = torch.distributions.Normal(torch.tanh(self.actor(states)), self.log_std.exp())
            ratio = (policy.log_prob(actions) - old).exp()
            actor_loss = -torch.min(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
            for optimizer, loss in zip(self.optimizers, (actor_loss, F.mse_loss(values, returns)), strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


class ReferenceLoop:
    """Distils a student from a teacher, KD with one temperature or with an agent's.

    Args:
        teacher, student: networks on `device`, NCHW.
        pixels: [N, H, W, 3] uint8.
        labels: N labels.
        batch_size: B.
        agent: sets the temperatures; None: T = 4.
        device: where the networks are.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        pixels: np.ndarray[Any, Any],
        labels: list[int],
        batch_size: int,
        agent: InstanceAgent | None,
        device: torch.device,
    ) -> None:
        self.teacher, self.student = teacher.eval(), student
        self.agent, self.device, self.batch_size = agent, device, batch_size
        self.optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        self.sampler = Shuffled(len(labels))
        self.loader = DataLoader(
            PilImages(pixels, labels),
            batch_size=batch_size,
            sampler=self.sampler,
            num_workers=WORKERS,
            multiprocessing_context="fork" if "fork" in get_all_start_methods() else None,  # Linux's long-time default
            persistent_workers=True,
            pin_memory=device.type == "cuda",
        )
        self.meters = {name: AverageMeter() for name in ("loss", "ce", "kd", "top1", "top5")}

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images [B, 3, H, W] and labels [B] on the device."""
        for images, target in self.loader:
            yield images.to(self.device, non_blocking=True), target.to(self.device, non_blocking=True)

    def losses(self, student: Tensor, teacher: Tensor, target: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted cross entropy and divergence, 0-dim."""
        return CE_WEIGHT * F.cross_entropy(student, target), KD_WEIGHT * kd_loss(student, teacher, temperature)

    def run(self, steps: int, learns: bool) -> Iterator[None]:
        """Train `steps` steps; yields after each.

        Args:
            steps: at most an epoch's.
            learns: whether the agent is trained.
        """
        self.sampler.count = steps * self.batch_size
        self.student.train()
        for images, target in self.batches():
            with torch.no_grad():
                teacher = self.teacher(images)
            student = self.student(images)
            temperature = torch.tensor(TEMPERATURE, device=self.device)
            if self.agent is not None:
                self.agent.clear()
                temperature = self.agent.act(teacher, student)
            ce, kd = self.losses(student, teacher, target, temperature)
            loss = ce + kd
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.record(loss, ce, kd, student, target)
            if self.agent is not None and learns:
                self.agent.learn(self.meters["top1"].value)
            yield

    def record(self, loss: Tensor, ce: Tensor, kd: Tensor, logits: Tensor, target: Tensor) -> None:
        """Meters of the step, read from the device at once."""
        top1, top5 = accuracy(logits, target)
        for name, value in zip(self.meters, (loss, ce, kd, top1, top5), strict=True):
            self.meters[name].update(value.item(), len(target))
