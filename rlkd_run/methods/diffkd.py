"""Knowledge diffusion (arXiv 2305.15712): the student's features are noisy ones of the teacher's, and denoised."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rlkd_run.config.methods import DiffKDOptions
from rlkd_run.methods.base import Setting, cross_entropy, softened_divergence
from rlkd_run.methods.diffusion import Denoiser
from rlkd_run.methods.features import BatchNorm, FeatureMethod, map_shapes, of_one_size
from rlkd_run.protocol import Batch, Needs, Outputs, Temperatures


class Autoencoder(nn.Module):
    """Brings the teacher's maps to a width at which diffusion is affordable.

    Args:
        channels: D, of the maps.
        width: C, of the encoded maps.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(channels, width, 1), BatchNorm(width))
        self.decoder = nn.Conv2d(width, channels, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The encoded maps, [B, C, H, W], and what they are decoded to, [B, D, H, W].

        Args:
            maps: [B, D, H, W].
        """
        encoded = self.encoder(maps)
        return encoded, self.decoder(encoded)


class DiffKD(FeatureMethod):
    """The student's last map and its logits, each denoised, are the teacher's.

    The KL term compares the teacher's logits with the denoised student's, at the policy's temperatures. What the
    policy sees are the student's logits as they are: those that it will be tested with, not yet denoised. The map is
    compared with the teacher's encoded map.

    Each diffusion model is trained on what the teacher gives, together with the student.
    """

    needs: ClassVar[Needs] = Needs(maps=True)

    def __init__(self, options: DiffKDOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        (*_, ours), (*_, theirs) = map_shapes(setting)
        width, steps = options.autoencoder_width, options.inference_steps
        self.autoencoder = Autoencoder(theirs[0], width) if width else None
        self.map_denoiser = Denoiser(ours[0], width or theirs[0], kernel=3, steps=steps)
        classes = setting.num_classes
        self.logit_denoiser = Denoiser(classes, classes, kernel=1, steps=steps) if options.kl_weight else None

    def forward(
        self,
        student: Outputs,
        teacher: Outputs,
        batch: Batch,
        temperatures: Temperatures,
        epoch: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Parts of the loss; see `Method.forward`.

        ``ce``; ``reconstruction`` of the teacher's map (unless it is not encoded); ``feature``, the mean squared
        difference of the maps; ``kl`` (unless its weight is 0); ``denoising``, of the diffusion models, each with the
        weight of what it denoises.
        """
        parts = {"ce": self.ce_weight * cross_entropy(student.logits, batch)}
        maps, target = of_one_size(student.maps[-1], teacher.maps[-1])
        if self.autoencoder is not None:
            encoded, decoded = self.autoencoder(target)
            parts["reconstruction"] = self.feature_weight * F.mse_loss(decoded, target)
            target = encoded.detach()  # else the encoder would give up what the student does not have
        parts["feature"] = self.feature_weight * F.mse_loss(self.map_denoiser(maps), target)
        parts["denoising"] = self.feature_weight * self.map_denoiser.denoising_loss(target)
        if self.logit_denoiser is not None:
            v, u = self.teacher_logits(teacher), self.student_logits(student)
            clean = self.logit_denoiser(u[:, :, None, None]).flatten(1)
            parts["kl"] = self.kl_weight * softened_divergence(v, clean, temperatures).mean()
            noise = self.logit_denoiser.denoising_loss(v.detach()[:, :, None, None])
            parts["denoising"] = parts["denoising"] + self.kl_weight * noise
        return parts
