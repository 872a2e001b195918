"""An engine from a model file: `build_engine`.

    engine = build_engine(read_model("model.onnx"), Path("model.engine"), EngineOptions(batch=(1, 8, 16)))
    with open_backend(engine, "trt") as backend:
        raw = backend.run(images, image_sizes)

Joins the rooms: `engine_graph.py` makes TensorRT's graph, `engine_build.py` builds the plan, `engine_file.py` of the
runtime half writes it down. Needs neither torch nor Detectron2.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashionseg.backends.cuda import Cuda
from fashionseg.backends.registry import Device, check_device
from fashionseg.backends.trt_library import NAMES, Library, load_library
from fashionseg.engine_file import EngineInfo, Profile, write_engine
from fashionseg.errors import ExportError
from fashionseg.export.engine_build import BuildSettings, build_plan, offered_roi_align
from fashionseg.export.engine_graph import numeric_graph
from fashionseg.export.engine_timings import read_timings, write_timings
from fashionseg.export.roialign import GRID_SAMPLES, is_exact, rewrite_roi_align
from fashionseg.export.steps import SilentSteps, Steps

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from fashionseg.backends.cuda import Gpu
    from fashionseg.export.roialign import RoiAlignStyle
    from fashionseg.model import ModelFile, ModelSpec

DEFAULT_BATCH = (1, 8, 16)
MAX_SIDE = 16384


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What to build.

    Attributes:
        batch: least, best and largest number of pictures a run.
        sizes: heights and widths in pixels, one optimization profile each; empty for the largest landscape and portrait
            picture that the model's resize rule makes.
        workspace: most bytes a layer may use for itself; None for the whole GPU.
        version_compatible: the engine runs on other versions of the same major version too, a little slower.
        library: "tensorrt", which builds on the GPU the engine is for, or "tensorrt_rtx", which needs none.
        device: number of the GPU to build on.
        roi_align: "plugin" or "grid" (see `roialign.py`); None for what the library offers.
    """

    batch: tuple[int, int, int] = DEFAULT_BATCH
    sizes: tuple[tuple[int, int], ...] = ()
    workspace: int | None = None
    version_compatible: bool = False
    library: Library = "tensorrt"
    device: int = 0
    roi_align: RoiAlignStyle | None = None

    def profiles(self, spec: ModelSpec) -> tuple[Profile, ...]:
        """One for each size.

        Raises:
            ExportError: a size that the model does not take.
        """
        sizes = tuple(dict.fromkeys(self.sizes or default_sizes(spec)))
        for height, width in sizes:
            if height % spec.size_divisor or width % spec.size_divisor or not 0 < max(height, width) <= MAX_SIDE:
                raise ExportError(
                    f"{height}x{width} is no size for this model: it takes multiples of {spec.size_divisor} pixels, "
                    f"up to {MAX_SIDE}"
                )
        return tuple(Profile(size, self.batch) for size in sizes)


def default_sizes(spec: ModelSpec) -> tuple[tuple[int, int], ...]:
    """The smallest landscape and portrait format that every picture fits into after the model's resize rule."""
    short, long = (-(-side // spec.size_divisor) * spec.size_divisor for side in (spec.min_size, spec.max_size))
    return ((short, long), (long, short)) if short != long else ((short, long),)


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built with and for.

    Attributes:
        library: the name of it.
        version: of the library.
        gpu: what it is built on; None where it is built ahead of time.
    """

    library: Library
    version: str
    gpu: Gpu | None


def find_target(options: EngineOptions) -> Target:
    """The library and GPU that `options` ask for.

    Raises:
        DeviceError: no such GPU, or the library cannot be used.
        MissingExtraError: the library or cuda-python is not installed.
    """
    if options.library == "tensorrt_rtx":
        return Target(options.library, load_library(options.library).__version__, None)
    check_device(Device("trt", options.device))
    version = load_library(options.library).__version__
    cuda = Cuda(options.device)
    try:
        return Target(options.library, version, cuda.gpu())
    finally:
        cuda.close()


def build_engine(
    model: ModelFile,
    output: Path,
    options: EngineOptions | None = None,
    steps: Steps | None = None,
    stop: threading.Event | None = None,
) -> ModelFile:
    """Build an engine from an ONNX model file and write it; it replaces one of the same name.

    Args:
        model: of any precision; the engine computes in the same.
        output: the `.engine` file; a JSON file of the same name appears beside it.
        options: default `EngineOptions()`.
        steps: hears of progress.
        stop: set from anywhere to give up.

    Returns:
        The engine, ready for `open_backend(engine, "trt")`.

    Raises:
        KeyboardInterrupt: it was given up, by `stop` or Ctrl-C.
        MissingExtraError, DeviceError: TensorRT or its GPU is missing.
        ExportError: TensorRT cannot build it.
        OutputError: the files cannot be written.
    """
    options, steps = options or EngineOptions(), steps or SilentSteps()
    if model.engine is not None:
        raise ExportError(f"{model.path} is an engine already; build from the ONNX file it was made from")
    target, profiles = find_target(options), options.profiles(model.spec)
    trt = load_library(target.library)
    style = options.roi_align or offered_roi_align(trt)
    began = time.perf_counter()
    place = f" on {target.gpu.name}" if target.gpu else ""
    steps.note(f"building an engine with {NAMES[target.library]} {target.version}{place}; Ctrl-C stops it")
    timings = read_timings(target, steps.note)
    settings = BuildSettings(profiles, options.workspace, options.version_compatible, timings)
    graph = numeric_graph(model)
    if not is_exact(graph, style):
        steps.note(f"RoIAlign adapts its samples to the box; this engine takes {GRID_SAMPLES} a cell and axis instead")
    rewrite_roi_align(graph, style)
    plan = build_plan(trt, graph.SerializeToString(), settings, steps, str(model.path), stop)
    write_timings(target, plan.timing_cache, steps.note)
    info = EngineInfo(
        library=target.library,
        library_version=target.version,
        gpu=target.gpu.name if target.gpu else "",
        compute_capability=target.gpu.compute_capability if target.gpu else "",
        onnx_sha256=model.sha256,
        plan_sha256=hashlib.sha256(plan.data).hexdigest(),
        profiles=profiles,
        roi_align=style,
        version_compatible=options.version_compatible,
    )
    engine = write_engine(output, plan.data, info, model.spec)
    steps.note(f"built in {time.perf_counter() - began:.0f} s")
    return engine
