"""Turns detections into what a run keeps: pasted masks, RLE, the drawn picture, the photo's file.

`Artist.finish` is called from several threads at once. Knows nothing about models or videos' files.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.files import make_folder, write_bytes
from fashionseg.masks import paste_masks
from fashionseg.rle import encode_rle
from fashionseg.writers.names import frames_folder
from fashionseg.writers.records import BOX_DIGITS, SCORE_DIGITS, FrameRecord, Prediction, frame_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.detections import Detections
    from fashionseg.inference import Inferred
    from fashionseg.masks import PastedMask
    from fashionseg.media.frame import Frame, Source
    from fashionseg.model import ModelSpec
    from fashionseg.segment.types import Plan, SegmentOptions, Timings
    from fashionseg.writers.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Finished:
    """A picture with everything done but the video's encoding.

    Attributes:
        source: where it comes from.
        size_hw: height and width in pixels.
        record: its predictions.
        image: uint8 [H, W, 3], BGR, drawn, for the video; None for a photo or where no video is saved.
        output: relative path of the annotated photo; None where none is saved.
        nms_exact: see `RawBatch`.
        place: the tag of the picture.
    """

    source: Source
    size_hw: tuple[int, int]
    record: FrameRecord
    image: NDArray[np.uint8] | None
    output: str | None
    nms_exact: bool
    place: Any


def predictions_of(detections: Detections, pasted: list[PastedMask]) -> tuple[Prediction, ...]:
    """COCO's view of detections: boxes as x, y, width, height, masks as compressed RLE of the whole picture.

    Args:
        detections: in pixels of the original picture.
        pasted: their masks, one each.
    """
    boxes = detections.boxes.astype(float)
    boxes[:, 2:] -= boxes[:, :2]
    rows = zip(detections.labels.tolist(), detections.scores.tolist(), boxes.tolist(), pasted, strict=True)
    return tuple(
        Prediction(label, round(score, SCORE_DIGITS), _rounded(box), encode_rle(mask, detections.size_hw))
        for label, score, box, mask in rows
    )


def _rounded(box: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = (round(value, BOX_DIGITS) for value in box)
    return x, y, width, height


class Artist:
    """Pastes, encodes and draws the detections of the pictures of one run."""

    def __init__(
        self, plan: Plan, folder: RunFolder, spec: ModelSpec, options: SegmentOptions, timings: Timings
    ) -> None:
        from fashionseg.drawing import Annotator

        self._plan = plan
        self._folder = folder
        self._save = options.save
        self._timings = timings
        self._annotator = Annotator(spec.class_names, hide=options.hide)
        self._folders: set[Path] = set()
        self._lock = threading.Lock()

    def finish(self, inferred: Inferred, detections: Detections) -> Finished:
        """Do everything for one picture: `detections` are those to keep, in pixels of `inferred.frame`."""
        frame = inferred.frame
        with self._timings("masks"):
            pasted = paste_masks(detections)
            record = FrameRecord(frame.index, frame.time, predictions_of(detections, pasted))
        image = None
        output = None
        if not getattr(inferred.tag, "done", False):
            image, output = self._drawn(frame, detections, pasted)
        return Finished(frame.source, frame.size_hw, record, image, output, inferred.nms_exact, inferred.tag)

    def _drawn(
        self, frame: Frame, detections: Detections, pasted: list[PastedMask]
    ) -> tuple[NDArray[np.uint8] | None, str | None]:
        photo = frame.source.kind == "photo"
        if not self._save & ({"images"} if photo else {"video", "frames"}):
            return None, None
        with self._timings("draw"):
            self._annotator.draw(frame.image, detections, pasted)
        name = self._plan.outputs[frame.source.index]
        if photo:
            self._write(frame.image, name)
            return None, name
        if "frames" in self._save:
            self._write(frame.image, frame_file(frames_folder(name), frame.index))
        return frame.image if "video" in self._save else None, None

    def _write(self, image: NDArray[np.uint8], name: str) -> None:
        from fashionseg.media.images import encode_jpeg

        path = self._plan.root / name
        with self._timings("write"):
            data = encode_jpeg(image)
            self._make_folder(path.parent)
            write_bytes(path, data, self._folder.temporary)

    def _make_folder(self, folder: Path) -> None:
        with self._lock:
            if folder in self._folders:
                return
        make_folder(folder, inside=self._plan.root)
        with self._lock:
            self._folders.add(folder)
