"""Exponential moving average of a model's weights.

Knows named tensors. Knows nothing about steps, files or what the model is for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class ExponentialAverage:
    """Averaged copy of a module's state: floating-point tensors are averaged, others copied.

    In the first steps the decay is smaller, (1 + n) / (10 + n) after n updates, so that the starting weights are
    soon forgotten.
    """

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self._module, self._decay, self._updates = module, decay, 0
        self._average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self) -> None:
        """Take the module's present state into the average."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        state = self._module.state_dict()
        floating = [name for name, value in self._average.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[n] for n in floating], [state[n] for n in floating], 1 - decay)
        for name in self._average.keys() - set(floating):
            self._average[name].copy_(state[name])

    def average(self) -> dict[str, torch.Tensor]:
        """The averaged state, by name; not a copy."""
        return self._average

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The module holds the average inside, and its own state again afterwards."""
        own = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self._average)
        try:
            yield
        finally:
            self._module.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self._updates = int(state["updates"])
        for name, value in state["average"].items():
            self._average[name].copy_(value)
