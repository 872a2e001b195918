"""TensorRT's builder: a graph in, a plan out. The same code for TensorRT 10.3 to 11 and for TensorRT-RTX.

The network is strongly typed: precision lies in the graph, and no precision flag is set (TensorRT 11 has none).
Knows TensorRT's API. Knows nothing about model files, caches or where the plan goes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.backends.trt_library import NAMES, make_log
from fashionseg.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.engine_file import Profile
    from fashionseg.export.roialign import RoiAlignStyle
    from fashionseg.export.steps import Steps

ROI_ALIGN_PLUGIN = ("ROIAlign_TRT", "2")
"""Name and version of TensorRT's own RoIAlign in `libnvinfer_plugin`."""

POLL_SECONDS = 0.1
"""How soon Ctrl-C is heard while a build runs in its own thread."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How to build.

    Attributes:
        profiles: one optimization profile each.
        workspace: most bytes a layer may use for itself; None leaves TensorRT the whole GPU.
        version_compatible: for other versions of the same major version too.
        timing_cache: of earlier builds with this library on this GPU; empty for none.
    """

    profiles: Sequence[Profile]
    workspace: int | None = None
    version_compatible: bool = False
    timing_cache: bytes = b""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the builder made: the plan, and the timing cache of this build and those before (empty: none)."""

    data: bytes
    timing_cache: bytes


def offered_roi_align(trt: Any) -> RoiAlignStyle:
    """How this library can compute RoIAlign: by its plugin, which samples as the operator does, where it has it.

    TensorRT-RTX lists the plugin too, but makes none without a live GPU, and builds for GPUs that are not there.
    """
    if trt.__name__ == "tensorrt_rtx":
        return "grid"
    trt.init_libnvinfer_plugins(make_log(trt), "")
    registry = trt.get_plugin_registry()
    return "plugin" if registry is not None and registry.get_creator(*ROI_ALIGN_PLUGIN, "") is not None else "grid"


def build_plan(
    trt: Any, graph: bytes, settings: BuildSettings, steps: Steps, where: str, stop: threading.Event | None = None
) -> Plan:
    """Build a plan; Ctrl-C, or setting `stop`, ends it within a step of TensorRT's.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        graph: an ONNX model, see `engine_graph.engine_graph`.
        settings: how.
        steps: hears of progress.
        where: names the model in errors.
        stop: set from anywhere to give up.

    Raises:
        KeyboardInterrupt: it was given up.
        ExportError: TensorRT refuses the graph, naming the node, or cannot build it.
    """
    stop = stop or threading.Event()
    work = _Builder(trt, settings, steps, where, stop)
    # A thread of its own: TensorRT computes for minutes in native code, and signals are heard in the main thread alone.
    threading.Thread(target=work.run, args=(graph,), name="fashionseg-engine", daemon=True).start()
    try:
        while not work.done.wait(POLL_SECONDS):  # not Thread.join: interrupted, it takes the thread for ended
            pass
    except KeyboardInterrupt:
        stop.set()
        steps.note("stopping the build at TensorRT's next step")
        work.done.wait()
        raise
    return work.result()


class _Builder:
    """One build; `run` in any thread, then `result`."""

    def __init__(self, trt: Any, settings: BuildSettings, steps: Steps, where: str, stop: threading.Event) -> None:
        self._trt = trt
        self._settings = settings
        self._steps = steps
        self._where = where
        self._stop = stop
        self._name = f"{NAMES[trt.__name__]} {trt.__version__}"
        self._log = make_log(trt)
        self.done = threading.Event()
        self._plan: Plan | None = None
        self._error: BaseException | None = None

    def run(self, graph: bytes) -> None:
        try:
            self._plan = self._build(graph)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self.done.set()

    def result(self) -> Plan:
        if self._stop.is_set():
            raise KeyboardInterrupt
        if self._error is not None:
            raise self._error
        if self._plan is None:
            raise ExportError(f"{self._name} cannot build an engine from {self._where}: {self._log.reason()}")
        return self._plan

    def _build(self, graph: bytes) -> Plan | None:
        trt = self._trt
        try:
            builder = trt.Builder(self._log)
        except TypeError:  # how the bindings say that the library gave none; the log has the reason
            return None
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._log)
        if not parser.parse(graph) or parser.num_errors:
            raise ExportError(f"{self._name} refuses {self._where}: {_parser_errors(parser)}")
        config, monitor = builder.create_builder_config(), _monitor(trt, self._steps, self._stop)
        config.progress_monitor = monitor
        self._configure(builder, config)
        cache = self._attach_timing_cache(config)
        data = builder.build_serialized_network(network, config)
        monitor.close()
        if data is None:
            return None
        return Plan(bytes(data), b"" if cache is None else bytes(cache.serialize()))

    def _configure(self, builder: Any, config: Any) -> None:
        trt, settings = self._trt, self._settings
        if settings.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
        if settings.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        for one in settings.profiles:
            profile = builder.create_optimization_profile()
            profile.set_shape("images", *((n, *one.size_hw, 3) for n in one.batch))
            profile.set_shape("image_sizes", *((n, 2) for n in one.batch))
            if config.add_optimization_profile(profile) < 0:
                raise ExportError(f"{self._name} does not take the profile {one}: {self._log.reason()}")

    def _attach_timing_cache(self, config: Any) -> Any:
        """The timing cache in use; an old one that does not fit is left out. None where the library has none."""
        if self._trt.__name__ == "tensorrt_rtx":  # which measures nothing ahead of time, and deprecates these calls
            return None
        for data in (self._settings.timing_cache, b""):
            cache = config.create_timing_cache(data)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
        return None


def _parser_errors(parser: Any) -> str:
    """What the parser objects to, by the names of nodes."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = []
    for error in errors[:3]:
        words = " ".join(error.desc().split())
        name, operator = error.node_name(), error.node_operator()
        told.append(f"node {name!r} ({operator}): {words}" if name or operator else words)
    more = f" (and {len(errors) - len(told)} more)" if len(errors) > len(told) else ""
    return ("; ".join(told) or "it gives no reason") + more


def _monitor(trt: Any, steps: Steps, stop: threading.Event) -> Any:
    """TensorRT's phases as `Steps`. Called from TensorRT's threads; phases of one name may overlap and show as one."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._open: list[str] = []

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._open.append(phase_name)
                if self._open.count(phase_name) == 1:
                    steps.begin(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps.reach(phase_name, step + 1)
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                if phase_name in self._open:
                    self._open.remove(phase_name)
                    if phase_name not in self._open:
                        steps.end(phase_name)

        def close(self) -> None:
            """End the phases that a failed or stopped build left open."""
            with self._lock:
                names, self._open = list(dict.fromkeys(self._open)), []
                for name in reversed(names):
                    steps.end(name)

    return Monitor()
