"""The original method: network, loss and settings as published, in single precision.

Written from the published settings, independently of the package, and scored at its best step by ground
truth: an oracle that no user has. The package has to be as good with its automatic stop.

References
----------
.. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867,
       doi:10.1007/s11263-020-01303-4, and the settings of its notebooks.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Settings:
    """The settings of a notebook.

    `perturbation` is the standard deviation of the noise added to the network input at each step.
    """

    skip: int = 4
    up: str = "bilinear"
    perturbation: float = 0.03
    learning_rate: float = 0.01
    steps: int = 3000


DENOISE = Settings(perturbation=1 / 30, steps=3000)
RANDOM_PIXELS = Settings(learning_rate=0.001, steps=11_000)
TEXT = Settings(skip=128, up="nearest", steps=6001)
SUPER_RESOLUTION = Settings(steps=2000)


def _block(inputs, outputs, size, stride=1):
    return nn.Sequential(
        nn.ReflectionPad2d(size // 2),
        nn.Conv2d(inputs, outputs, size, stride),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


class _Scale(nn.Module):
    """One scale of the network: a narrow skip connection beside all deeper scales."""

    def __init__(self, inputs, width, skip, up, deeper):
        super().__init__()
        self.skip = _block(inputs, skip, 1)
        self.down = nn.Sequential(_block(inputs, width, 3, 2), _block(width, width, 3))
        self.deeper = deeper
        options = {"align_corners": False} if up == "bilinear" else {}
        self.up = nn.Upsample(scale_factor=2, mode=up, **options)
        self.join = nn.Sequential(
            nn.BatchNorm2d(skip + width), _block(skip + width, width, 3), _block(width, width, 1)
        )

    def forward(self, x):
        deep = self.down(x)
        if self.deeper is not None:
            deep = self.deeper(deep)
        return self.join(torch.cat((self.skip(x), self.up(deep)), dim=1))


def network(channels: int, settings: Settings, *, width: int = 128, depth: int = 32) -> nn.Module:
    """Return the skip network of five scales; 2,217,831 parameters for RGB with 4 skip channels."""
    body = None
    for scale in reversed(range(5)):
        body = _Scale(depth if scale == 0 else width, width, settings.skip, settings.up, body)
    return nn.Sequential(body, nn.Conv2d(width, channels, 1), nn.Sigmoid())


def oracle(
    observed,
    forward,
    truth,
    settings,
    *,
    seed=0,
    steps=None,
    every=10,
    hard_data_consistency=False,
    report=None,
):
    """Return the best running average and the best raw output, by ground truth.

    Parameters
    ----------
    observed : (C, Y, X) array, 0 to 1, NaN where data are missing
        The data.
    forward : callable
        From the scene (1, C, H, W) to the data, differentiable.
    truth : (C, H, W) array, 0 to 1
        Decides which step is the best.
    settings : Settings
        Of the notebook.
    hard_data_consistency : bool
        Put the observed pixels back before an image is scored.
    report : callable
        Called with (step, best scores so far) at each 100th step.

    Returns
    -------
    dict
        `average`, `average_at`, `raw`, `raw_at` (PSNR in dB and steps), `steps`, `image`, and `course`:
        the seconds and the PSNR of the running average, at each `every`-th step.
    """
    torch.manual_seed(seed)
    net = network(len(truth), settings).to(memory_format=torch.channels_last)
    z = torch.rand(1, 32, *truth.shape[1:]).to(memory_format=torch.channels_last) / 10
    y, x0 = torch.tensor(observed, dtype=torch.float32), torch.tensor(truth, dtype=torch.float32)
    known = torch.isfinite(y)
    y = torch.nan_to_num(y)
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
    best = {"average": 0.0, "average_at": 0, "raw": 0.0, "raw_at": 0, "image": None}
    course, started = [], time.perf_counter()
    mean = torch.zeros_like(x0)
    for step in range(1, (steps or settings.steps) + 1):
        x = net(z + settings.perturbation * torch.randn_like(z))
        loss = ((forward(x)[0] - y)[known] ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean.mul_(0.99).add_(x.detach()[0], alpha=0.01)
        if step % every == 0:
            average = mean / (1 - 0.99**step)
            seconds = time.perf_counter() - started
            for name, image in (("average", average), ("raw", x.detach()[0])):
                if hard_data_consistency:
                    image = torch.where(known, y, image)
                psnr = -10 * float(torch.log10(((image - x0) ** 2).mean()))
                if psnr > best[name]:
                    best |= {name: psnr, f"{name}_at": step}
                    if name == "average":
                        best["image"] = np.array(average)
                if name == "average":
                    course.append((seconds, psnr))
            if report and step % 100 == 0:
                report(step, best)
    return best | {"steps": step, "course": course}
