"""How much memory a fit takes."""

from __future__ import annotations

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.torch_import import torch
from napari_dip.run.recipe import Recipe

ACTIVATION_FACTOR = 2.0  # how often what the network keeps for its gradient is in memory at the worst


OVERHEAD_BYTES_PER_PIXEL = 600  # bytes besides: code, data, averages


def bytes_per_pixel(recipe: Recipe, planes: ChannelLayout, device: torch.device) -> float:
    """Memory that a fit takes for each pixel of the scene, about: what the network keeps, and the rest.

    The first is counted in a step of a small network of the same layers.
    """
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself, it would hold the step that made it, which holds it: for ever

    precision = recipe.compute.resolve_precision(device)
    depths = planes.depths if recipe.network.is_3d else 1
    inputs = 33 * depths + planes.num_planes
    with torch.device("meta"):
        network = recipe.network.build(inputs, planes)
    network = network.to_empty(device="cpu").to(memory_format=recipe.network.memory_format)  # type: ignore[call-overload]
    side = 2 * recipe.network.size_multiple
    z = torch.zeros(
        1, inputs, side // recipe.network.input_downsampling, side // recipe.network.input_downsampling
    )
    half = precision != torch.float32
    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        torch.autocast("cpu", dtype=precision, enabled=half),
    ):
        network(z.to(precision).to(memory_format=torch.channels_last))
    for parameter in network.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return ACTIVATION_FACTOR * sum(kept.values()) / side**2 + OVERHEAD_BYTES_PER_PIXEL
