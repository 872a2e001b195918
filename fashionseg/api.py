"""The Python API: `load_model`, `Model.predict`, `Model.stream`.

    model = fashionseg.load_model()
    detections = model.predict("photo.jpg", conf=0.5)
    for frame, detections in model.stream("video.mp4"):
        ...

Nothing here writes files; `fashionseg.segment.segment` does what the command line does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, overload

from fashionseg.backends.registry import open_backend
from fashionseg.errors import MediaError
from fashionseg.inference import Inferred, Prepared, infer, prepare_frame
from fashionseg.media.frame import Frame, Source
from fashionseg.model import read_model
from fashionseg.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.backends import Backend
    from fashionseg.detections import Detections
    from fashionseg.model import ModelSpec

    Picture = str | Path | NDArray[np.uint8]
    """A file, or uint8 [H, W, 3] in BGR order as OpenCV reads it."""

WINDOW = 32
"""Pictures of a list among which those of one padded size are put into one batch."""


def load_model(path: str | Path | None = None, device: str = "auto", *, threads: int | None = None) -> Model:
    """Load a model file onto a device.

    Args:
        path: a `.onnx` made by `fashionseg export`; None for the embedded default model.
        device: "auto", "cpu", "cuda", "cuda:1", "trt", "trt:1".
        threads: CPU threads; None for all cores.

    Raises:
        ModelError: not a usable model file.
        DeviceError: the device is not there or cannot be used.
    """
    return Model(open_backend(read_model(path), device, threads=threads))


class Model:
    """A loaded model; a context manager. Not for several threads at once.

    Attributes:
        spec: the model's metadata: `spec.class_names[label]` names a detection's class.
        backend: what runs it.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.spec: ModelSpec = backend.spec

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model."""
        self.backend.close()

    @overload
    def predict(
        self, pictures: Picture, *, conf: float = ..., classes: Sequence[str] = ..., batch: int = ...
    ) -> Detections: ...

    @overload
    def predict(
        self, pictures: list[Picture], *, conf: float = ..., classes: Sequence[str] = ..., batch: int = ...
    ) -> list[Detections]: ...

    def predict(
        self,
        pictures: Picture | list[Picture],
        *,
        conf: float = 0.5,
        classes: Sequence[str] = (),
        batch: int = 1,
    ) -> Detections | list[Detections]:
        """Find garments in one picture or in a list of pictures.

        Args:
            pictures: a path or uint8 [H, W, 3] BGR, or a list of those.
            conf: least score, 0..1.
            classes: names or category ids to keep; empty for all.
            batch: pictures a run of the model at most.

        Returns:
            Detections in pixels of the original picture (EXIF orientation applied); a list for a list.

        Raises:
            MediaError: a file cannot be read.
            ModelError: a class the model does not have.
        """
        labels = self._labels(classes)
        listed = pictures if isinstance(pictures, list) else [pictures]
        frames = (_frame(index, picture) for index, picture in enumerate(listed))
        prepared = (prepare_frame(frame, self.spec, block=frame.source.index // WINDOW) for frame in frames)
        found = [item.detections.filtered(conf, labels) for item in infer(prepared, self.backend, batch)]
        return found if isinstance(pictures, list) else found[0]

    def stream(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        conf: float = 0.5,
        classes: Sequence[str] = (),
        batch: int = 1,
    ) -> Iterator[tuple[Frame, Detections]]:
        """Photos and video frames with their detections, one after the other, in order; decoding runs ahead.

        Args:
            sources: photos, videos, folders or globs.
            conf: least score, 0..1.
            classes: names or category ids to keep; empty for all.
            batch: pictures a run of the model at most.

        Yields:
            The decoded frame (yours to draw into) and the detections in its pixels.

        Raises:
            MediaError: a source cannot be read, or breaks in the middle; all pictures before have come.
        """
        labels = self._labels(classes)
        arguments = [sources] if isinstance(sources, str | Path) else list(sources)
        with Pipeline() as pipeline:
            prepared = pipeline.stage("prepare", self._prepared(arguments, batch))
            for item in pipeline.stage("infer", infer(prepared, self.backend, batch)):
                if isinstance(item, MediaError):
                    raise item
                yield item.frame, _filtered(item, conf, labels)

    def _prepared(self, arguments: Sequence[str | Path], batch: int) -> Iterator[Prepared | MediaError]:
        """Pictures, and at the end the error that ends them, if any: those before it may still wait for their batch."""
        try:
            for number, frame in enumerate(read_frames(arguments)):
                video = frame.source.kind == "video"
                block = (frame.source.index, 0) if video else (-1, number // (batch * 8))
                yield prepare_frame(frame, self.spec, block)
        except MediaError as error:
            yield error

    def _labels(self, classes: Sequence[str]) -> frozenset[int] | None:
        return self.spec.labels_of(list(classes)) if classes else None


def read_frames(arguments: Sequence[str | Path]) -> Iterator[Frame]:
    """Every photo and video frame of files, folders and globs, in order.

    Raises:
        MediaError: a source is missing or cannot be read.
    """
    from fashionseg.media.sources import find_sources

    found = find_sources(arguments)
    if found.problems:
        raise MediaError(str(found.problems[0]))
    for source in found.sources:
        yield from _frames_of(source)


def _frames_of(source: Source) -> Iterable[Frame]:
    if source.kind == "photo":
        from fashionseg.media.images import read_image

        yield Frame(read_image(source.path), source)
        return
    from fashionseg.media.video_reader import VideoReader

    with VideoReader(source.path) as video:
        for decoded in video:
            yield Frame(decoded.image, source, decoded.index, decoded.time)


def _frame(index: int, picture: Picture) -> Frame:
    if isinstance(picture, str | Path):
        from fashionseg.media.images import read_image

        path = Path(picture)
        return Frame(read_image(path), Source(index, path, path.name, "photo"))
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != "uint8" or not picture.size:
        raise MediaError(f"a picture must be uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}")
    return Frame(picture, Source(index, Path(), "", "photo"))


def _filtered(item: Inferred, conf: float, labels: frozenset[int] | None) -> Detections:
    return item.detections.filtered(conf, labels)
