"""From pixels in 0..255 to normalised images in the memory layout that the networks want."""

from __future__ import annotations

import torch
from torch import Tensor


class Normaliser:
    """``(pixel / 255 - mean) / std`` of each channel, as one multiply-add on the device.

    Args:
        mean, std: of each channel, of pixels in [0, 1].
        width: of the images, in pixels.
        device: of the images.
        channels_last: memory layout of the result: NHWC, else NCHW.
    """

    def __init__(self, mean: list[float], std: list[float], width: int, device: torch.device, channels_last: bool):
        means = torch.tensor(mean, dtype=torch.float64)
        stds = torch.tensor(std, dtype=torch.float64)
        # Repeated along a whole row of pixels: with a broadcast over three elements only, the kernel is five times
        # slower on a CPU, because its inner loop does not vectorise.
        self._scale = (1 / (255 * stds)).float().repeat(width).to(device)
        self._shift = (-means / stds).float().repeat(width).to(device)
        self._channels_last = channels_last

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            pixels: [B, H, W, 3] in 0..255, contiguous; uint8, or float32 for mixtures.

        Returns:
            [B, 3, H, W] float32.
        """
        rows = pixels.view(pixels.shape[0], pixels.shape[1], -1).float()
        images = torch.addcmul(self._shift, rows, self._scale).view(pixels.shape).permute(0, 3, 1, 2)
        return images if self._channels_last else images.contiguous()
