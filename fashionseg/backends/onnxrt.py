"""Runs a model file with ONNX Runtime, on the CPU or on an NVIDIA GPU through CUDA.

Knows ONNX Runtime's sessions, providers and bindings. Knows nothing about pictures.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends import RawBatch
from fashionseg.cores import usable_cores
from fashionseg.errors import DeviceError, FashionsegError, ModelError, OutOfMemoryError
from fashionseg.model import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.model import ModelFile

MAX_STREAMS = 2
"""Runs at a time on a CPU. The embedded model, 2 cores: one run on both takes 31 ms; of two, each on one core, 23 ms a
picture, as no thread waits for another. A further run costs the memory of its activations."""

_OUT_OF_MEMORY = ("failed to allocate memory", "out of memory", "bad_alloc", "bad allocation", "alloc_failed")


class OnnxRuntimeBackend:
    """A `Backend` (see `fashionseg.backends`) over one ONNX Runtime session.

    Make one with `on_cpu` or `on_cuda`.
    """

    def __init__(
        self,
        model: ModelFile,
        session: Any,
        device: str,
        description: str,
        streams: int = 1,
        bound: BoundRun | None = None,
        min_score: float = 0.0,
    ) -> None:
        """`bound` runs the session over tensors of its device; None where that is the host, as on a CPU.

        Detections that score less than `min_score` are left out.
        """
        self.spec = model.spec
        self.streams = streams
        self.device = device
        self.description = description
        self._where = str(model.path)
        self._session = session
        self._bound = bound
        self._min_score = np.float32(min_score)

    @classmethod
    def on_cpu(
        cls, model: ModelFile, threads: int | None = None, *, several_runs: bool = False, min_score: float = 0.0
    ) -> OnnxRuntimeBackend:
        """Load onto the CPU with `threads` threads (default: the cores this process may use).

        Masks are computed for the rows that are given back alone: see `live_rows.py`.

        Args:
            model: the model file.
            threads: that compute, all runs together.
            several_runs: allow runs at the same time: more pictures a second, each of them later.
            min_score: detections that score less are left out.

        Raises:
            ModelError: ONNX Runtime cannot load the file.
        """
        import onnxruntime

        from fashionseg.backends.live_rows import live_rows_only

        count = threads or usable_cores()
        options = _session_options(onnxruntime)
        streams = min(MAX_STREAMS, count) if several_runs else 1
        # The callers of `run` compute too, and share one pool.
        options.intra_op_num_threads = count - streams + 1
        # Spinning threads take the cores that decoding, drawing and encoding need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Planning which tensor takes over whose memory compares every tensor with every other: 215 of the 330 ms that
        # loading the embedded model takes, 940 of 1,520 for an R50-FPN. The arena hands freed memory out again anyway:
        # peak memory and time of a run stay what they were.
        options.enable_mem_reuse = False
        data = live_rows_only(model.data, min_score)
        session = _create_session(onnxruntime, model, data, options, ["CPUExecutionProvider"])
        plural = "s" if count > 1 else ""
        description = f"ONNX Runtime {onnxruntime.__version__}, CPU, {count} thread{plural}"
        return cls(model, session, "cpu", description, streams, min_score=min_score)

    @classmethod
    def on_cuda(cls, model: ModelFile, index: int = 0) -> OnnxRuntimeBackend:
        """Load onto GPU number `index`.

        Raises:
            DeviceError: CUDA, cuDNN or the GPU is missing, or it cannot load the file. Never a session that runs on the
                CPU instead.
        """
        import onnxruntime

        _preload_cuda(onnxruntime)
        options = _session_options(onnxruntime)
        # RoiAlign reads its batch indices on the host, and shapes are computed there: the CPU provider stays.
        # An exhaustive search for each new picture size costs about a second; asked of cuDNN's heuristics the embedded
        # model takes 5.4 instead of 5.2 ms for 8 pictures (benchmarks/results/gpu.json).
        cuda = {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"}
        providers: list[Any] = [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
        try:
            session = _create_session(onnxruntime, model, model.data, options, providers)
        except ModelError as error:
            raise DeviceError(
                f"device cuda:{index} was asked for, but there {error}; see `fashionseg doctor`, or use --device cpu"
            ) from error
        if session.get_providers()[:1] != ["CUDAExecutionProvider"]:  # in the order of their priority
            raise DeviceError(
                f"device cuda:{index} was asked for, but ONNX Runtime cannot use it (CUDA or cuDNN is missing or too "
                "old); see `fashionseg doctor`, or install them with: pip install 'fashionseg[cuda]'"
            )
        description = f"ONNX Runtime {onnxruntime.__version__}, CUDA GPU {index}"
        return cls(model, session, f"cuda:{index}", description, bound=BoundRun(session, "cuda", index))

    def run(self, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> RawBatch:
        """See `Backend.run`."""
        if self._session is None:
            raise FashionsegError("the backend is closed")
        feeds: dict[str, NDArray[Any]] = dict(zip(INPUTS, (images, image_sizes), strict=True))
        try:
            outputs = self._session.run(list(OUTPUTS), feeds) if self._bound is None else self._bound(feeds)
        except FashionsegError:
            raise
        except Exception as error:
            raise self._explained(error, images.shape) from error
        raw = RawBatch(**dict(zip(OUTPUTS, outputs, strict=True)))
        if self._min_score > 0:  # scores descend, and are 0 where no row is
            raw = replace(raw, num_detections=(raw.scores >= self._min_score).sum(1, dtype=np.int32))
        return raw

    def _explained(self, error: Exception, shape: tuple[int, ...]) -> FashionsegError:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
            return OutOfMemoryError(
                f"{self.device} has not enough memory for a batch of {shape[0]} pictures of {shape[2]} x {shape[1]} "
                "pixels; use a smaller --batch"
            )
        return FashionsegError(f"ONNX Runtime failed to run {self._where} on {self.device}: {text}")

    def close(self) -> None:
        """Free the session."""
        self._session = self._bound = None

    def __enter__(self) -> OnnxRuntimeBackend:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class BoundRun:
    """Runs a session over tensors in the memory of its device: inputs go up once, outputs come back once.

    The tensors of the inputs are kept and written to again while batches of one shape follow each other, as they do in
    a video.
    """

    def __init__(self, session: Any, place: str, index: int) -> None:
        """`place` and `index` name the device for ONNX Runtime: "cuda" and the number of the GPU."""
        self._session = session
        self._place = (place, index)
        self._inputs: dict[str, Any] = {}

    def __call__(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, self._on_device(name, np.ascontiguousarray(array)))
        for name in OUTPUTS:
            binding.bind_output(name, *self._place)
        self._session.run_with_iobinding(binding)
        outputs: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return outputs

    def _on_device(self, name: str, array: NDArray[Any]) -> Any:
        import onnxruntime

        kept = self._inputs.get(name)
        if kept is not None and tuple(kept.shape()) == array.shape:
            kept.update_inplace(array)
            return kept
        self._inputs.pop(name, None)  # its memory is free before the new tensor asks for some
        self._inputs[name] = onnxruntime.OrtValue.ortvalue_from_numpy(array, *self._place)
        return self._inputs[name]


def _session_options(onnxruntime: Any) -> Any:
    onnxruntime.set_default_logger_severity(4)  # errors arrive as exceptions, and say more there
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return options


def _create_session(onnxruntime: Any, model: ModelFile, data: bytes, options: Any, providers: list[Any]) -> Any:
    """A session over `data`, the model's bytes or what was made of them.

    ONNX Runtime's own fallback to the CPU prints on standard output and hides the reason: it is turned off.
    """
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except Exception as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"ONNX Runtime cannot load {model.path}: {text}") from error


def _preload_cuda(onnxruntime: Any) -> None:
    """Load the CUDA and cuDNN libraries that pip installed; what fails shows when the session is made."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise DeviceError(
            "the ONNX Runtime installed here has no CUDA support: uninstall onnxruntime and install onnxruntime-gpu"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints advice of its own
        onnxruntime.preload_dlls()
