"""What the next step of a fit depends on, so that it can be kept in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from napari_dip.core.torch_import import torch

State: TypeAlias = "dict[str, Any]"  # of tensors, numbers, text, None, and such dictionaries and lists


class Stateful:
    """Something that changes from step to step: the attributes named in `changing`.

    They are tensors, numbers, text or None.
    """

    changing: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> State:
        """Return the attributes that change."""
        return {name: getattr(self, name) for name in self.changing}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on where another instance stood, with the tensors on `device`."""
        for name in self.changing:
            value = state[name]
            setattr(self, name, value.to(device) if isinstance(value, torch.Tensor) else value)


def generator_states(generators: Sequence[torch.Generator]) -> list[torch.Tensor]:
    """Return the states of random number generators."""
    return [generator.get_state() for generator in generators]


def set_generator_states(generators: Sequence[torch.Generator], states: Sequence[torch.Tensor]) -> None:
    """Let each generator go on from a state of `generator_states`."""
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
