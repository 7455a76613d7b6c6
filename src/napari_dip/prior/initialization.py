"""The first weights of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from napari_dip.core.torch_import import torch

Weights: TypeAlias = "Mapping[str, torch.Tensor]"


def copy_weights(module: torch.nn.Module) -> Weights:
    """Return a copy of the weights of a network."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same_shapes(weights: Weights, others: Weights) -> bool:
    """Whether both belong to networks of the same architecture."""
    first, second = ({name: w.shape for name, w in group.items()} for group in (weights, others))
    return first == second


def initialize(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Initialize as torch does by default, from `generator` instead of the global state."""
    for layer in module.modules():
        match layer:
            case torch.nn.Conv2d() | torch.nn.Conv3d():
                torch.nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
                if layer.bias is not None:
                    bound = 1 / math.sqrt(layer.weight[0].numel())
                    torch.nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
            case torch.nn.BatchNorm2d() | torch.nn.BatchNorm3d():
                torch.nn.init.ones_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
