"""Which device a run gets, known before what depends on it is chosen: the batch and the encoder.

Knows backends by what opens them. Knows nothing about pictures.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fashionseg.backends import registry

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from fashionseg.backends import Backend
    from fashionseg.model import ModelFile
    from fashionseg.segment.types import Reporter, SegmentOptions

    Loading = tuple[str, Callable[[], Backend]]
    """The name of a device, and what loads the model onto it, once."""


@contextmanager
def loading(
    model: ModelFile,
    options: SegmentOptions,
    reporter: Reporter,
    stop: threading.Event,
    open_backend: Callable[[ModelFile], Backend] | None = None,
) -> Iterator[Loading]:
    """The device of a run, and what loads the model onto it.

    Where the device is plain, loading can wait until pictures are decoded at the same time. `auto` where there is a GPU
    may end on that or on the CPU: there the model is loaded at once, and the device is the one it got.

    Args:
        model: the model file.
        options: of the run.
        reporter: is told when a GPU is passed over.
        stop: gives up building a TensorRT engine.
        open_backend: makes the backend; default: `fashionseg.backends.registry.open_backend` with the options' device.

    Raises:
        DeviceError: the device is not there, does not run the model, or cannot be used.
    """
    wanted = registry.check_model(model, options.device)
    load = functools.partial(open_backend or functools.partial(_open, options, reporter, stop), model)
    if wanted.kind != registry.AUTO or not registry.gpu_present():
        yield str(wanted), load
        return
    with load() as backend:
        yield backend.device, lambda: backend


def _open(options: SegmentOptions, reporter: Reporter, stop: threading.Event, model: ModelFile) -> Backend:
    return registry.open_backend(
        model,
        options.device,
        threads=options.threads,
        several_runs=True,
        min_score=options.conf,
        note=reporter.note,
        stop=stop,
    )
