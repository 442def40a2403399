"""What denoises a student's features: a small diffusion model of the teacher's (arXiv 2305.15712, 2010.02502).

A feature is a map [B, C, H, W], or logits as a map of one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.methods.features import BatchNorm

TRAIN_STEPS = 1000
FIRST_BETA, LAST_BETA = 1e-4, 0.02
EMBEDDINGS = 1280  # the authors' table is longer than their steps


def _signal() -> Iterator[float]:
    """abar_t for t = 0, 1, ...: the share of the features' variance that is left at step t."""
    left = 1.0
    for t in range(TRAIN_STEPS):
        left *= 1 - (FIRST_BETA + (LAST_BETA - FIRST_BETA) * t / (TRAIN_STEPS - 1))
        yield left


SIGNAL = tuple(_signal())


def denoised(noise_model: Callable[[Tensor, Tensor], Tensor], features: Tensor, steps: int) -> Tensor:
    """Deterministic DDIM (eta 0) over the less noisy half of a grid of 2 * steps.

    Features are no pure noise, so the noisier half is left out; five steps are t = 400, 300, 200, 100, 0.

    Args:
        noise_model: the noise in maps [B, C, H, W] at steps t, [B] int64.
        features: [B, C, H, W].
        steps: at most TRAIN_STEPS / 2.

    Returns:
        [B, C, H, W].
    """
    stride = TRAIN_STEPS // (2 * steps)
    for t in range(stride * (steps - 1), -1, -stride):
        signal = SIGNAL[t]
        after = SIGNAL[t - stride] if t else 1.0
        noise = noise_model(features, torch.full((len(features),), t, device=features.device))
        clean = (features - (1 - signal) ** 0.5 * noise) / signal**0.5
        features = after**0.5 * clean + (1 - after) ** 0.5 * noise
    return features


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions.

    Args:
        channels: C.
        reduction: the 3x3 convolution has C / reduction channels.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        width = max(channels // reduction, 1)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            BatchNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            BatchNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 1),
            BatchNorm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return F.relu(features + self.residual(features))


class NoiseAdapter(nn.Module):
    """Adds as much noise to each image's features as is missing to the step at which denoising starts.

    The mixture is linear and does not preserve the variance, as in the authors' code.

    Args:
        channels: C.
        kernel: 3 for maps, 1 for logits.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.body = (
            Bottleneck(channels, reduction=8)
            if kernel == 3
            else nn.Sequential(
                nn.Conv2d(channels, 2 * channels, 1),
                BatchNorm(2 * channels),
                nn.ReLU(),
                nn.Conv2d(2 * channels, channels, 1),
                BatchNorm(channels),
            )
        )
        self.share = nn.Linear(channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        share = self.share(self.body(features).mean((2, 3))).softmax(1)[:, :1, None, None]
        mixed: Tensor = share * features + (1 - share) * torch.randn_like(features)
        return mixed


class NoiseModel(nn.Module):
    """Tells the noise in features at a step of the diffusion.

    Args:
        channels: C.
        kernel: 3 for maps, 1 for logits.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(EMBEDDINGS, channels)
        self.body = (
            nn.Sequential(
                Bottleneck(channels, reduction=4),
                Bottleneck(channels, reduction=4),
                nn.Conv2d(channels, channels, 1),
                BatchNorm(channels),
            )
            if kernel == 3
            else nn.Sequential(
                nn.Conv2d(channels, 4 * channels, 1),
                BatchNorm(4 * channels),
                nn.ReLU(),
                nn.Conv2d(4 * channels, channels, 1),
                BatchNorm(channels),
                nn.Conv2d(channels, 4 * channels, 1),
                BatchNorm(4 * channels),
                nn.ReLU(),
                nn.Conv2d(4 * channels, channels, 1),
            )
        )

    def forward(self, features: Tensor, t: Tensor) -> Tensor:
        """The noise, [B, C, H, W].

        Args:
            features: [B, C, H, W].
            t: step of each image, [B] int64.
        """
        noise: Tensor = self.body(features + self.embedding(t)[:, :, None, None])
        return noise


class Denoiser(nn.Module):
    """Denoises the student's features with a diffusion model that is trained on the teacher's.

    Args:
        student: channels of the student's features.
        channels: C, of the target's.
        kernel: 3 for maps, 1 for logits.
        steps: of the denoising.
    """

    shares: Tensor

    def __init__(self, student: int, channels: int, *, kernel: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.align = nn.Conv2d(student, channels, 1)
        self.adapter = NoiseAdapter(channels, kernel)
        self.noise_model = NoiseModel(channels, kernel)
        self.project = nn.Sequential(nn.Conv2d(channels, channels, 1), BatchNorm(channels))
        signal = torch.tensor(SIGNAL, dtype=torch.float64)
        # sqrt(abar_t) and sqrt(1 - abar_t), on the device, where t is drawn.
        self.register_buffer("shares", torch.stack([signal, 1 - signal]).sqrt(), persistent=False)

    def forward(self, student: Tensor) -> Tensor:
        """The denoised features, [B, D, H, W] -> [B, C, H, W]."""
        noisy = self.adapter(self.align(student))
        features: Tensor = self.project(denoised(self.noise_model, noisy, self.steps))
        return features

    def denoising_loss(self, target: Tensor) -> Tensor:
        """Mean squared error of the noise that the model finds in the target at a random step of each image, 0-dim.

        Args:
            target: the teacher's features, without gradient, [B, C, H, W].
        """
        t = torch.randint(TRAIN_STEPS, (len(target),), device=target.device)
        signal, noise = self.shares[:, t].to(target.dtype)[..., None, None, None]
        drawn = torch.randn_like(target)
        return F.mse_loss(self.noise_model(signal * target + noise * drawn, t), drawn)
