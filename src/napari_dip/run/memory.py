"""How much memory a fit needs."""

from __future__ import annotations

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.torch_import import torch
from napari_dip.run.recipe import Recipe

ACTIVATION_FACTOR = 2.0  # peak memory over that of the activations that are kept for the gradient
OVERHEAD_BYTES_PER_PIXEL = 600  # network input, data, averages


def bytes_per_pixel(recipe: Recipe, layout: ChannelLayout, device: torch.device) -> float:
    """Return the approximate memory of a fit per pixel of the scene. [byte]

    The activations are counted in a forward pass of a small image.
    """
    sizes: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would keep the graph alive, which keeps it: a leak

    precision = recipe.compute.resolve_precision(device)
    network = recipe.network
    depths = layout.depths if network.is_3d else 1
    in_channels = 33 * depths + layout.num_planes
    with torch.device("meta"):
        module = network.build(in_channels, layout)
    module = module.to_empty(device="cpu").to(memory_format=network.memory_format)  # type: ignore[call-overload]
    side = 2 * network.size_multiple
    input_side = side // network.input_downsampling
    z = torch.zeros(1, in_channels, input_side, input_side)
    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32),
    ):
        module(z.to(precision).to(memory_format=torch.channels_last))
    for parameter in module.parameters():
        sizes.pop(parameter.untyped_storage().data_ptr(), None)
    return ACTIVATION_FACTOR * sum(sizes.values()) / side**2 + OVERHEAD_BYTES_PER_PIXEL
