"""The COCO files of a finished run, written from its journal: `predictions.json` and `images.json`.

`COCO("images.json").loadRes("predictions.json")` works on them. They are streamed: memory holds one photo or one part
of a video. Knows nothing about pixels.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any

from fashionseg.errors import OutputError
from fashionseg.files import flush_folder, output_errors, replacing
from fashionseg.writers.names import frames_folder
from fashionseg.writers.records import PartDone, frame_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fashionseg.media.frame import Source
    from fashionseg.model import ModelSpec
    from fashionseg.writers.folder import RunFolder
    from fashionseg.writers.records import FrameRecord, PhotoDone, Prediction


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of a ground-truth file, where predictions are to use those.

    Attributes:
        images: image id by `Source.index`.
        categories: category id by contiguous class index.
        next_image: first id for pictures that the file cannot have: frames of videos.
    """

    images: dict[int, int]
    categories: tuple[int, ...]
    next_image: int


@dataclass(slots=True)
class Tally:
    """What the files hold.

    Attributes:
        photos: finished photos.
        videos: videos with at least one finished frame.
        frames: finished video frames.
        detections: garments by contiguous class index.
        pictures: photos and frames in which the class was found, by contiguous class index.
    """

    photos: int = 0
    videos: int = 0
    frames: int = 0
    detections: Counter[int] = field(default_factory=Counter)
    pictures: Counter[int] = field(default_factory=Counter)


class _JsonList:
    """A JSON list written item by item, one a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._separator = "\n"
        file.write("[")

    def add(self, item: dict[str, Any]) -> None:
        self._file.write(self._separator)
        self._file.write(json.dumps(item, separators=(", ", ": ")))
        self._separator = ",\n"

    def end(self) -> None:
        self._file.write("\n]" if self._separator != "\n" else "]")


def write_coco(
    folder: RunFolder,
    sources: Sequence[Source],
    outputs: Sequence[str],
    spec: ModelSpec,
    *,
    write: bool = True,
    ids: Ids | None = None,
) -> Tally:
    """Write both files of a finished run.

    Image ids count from 1 in the order of input: a photo takes one id, finished or not, a video as many as it has
    finished frames. With `ids`, photos have those of the ground truth, or are left out, and frames count from where
    those end.

    Args:
        folder: holds the journal of the run.
        sources: all inputs in order.
        outputs: relative path of the annotated file of each source.
        spec: of the model.
        write: False counts without writing.
        ids: of a ground-truth file.

    Raises:
        OutputError: the files cannot be written.
    """
    writer = _CocoWriter(spec, ids)
    if not write:
        for source, output in zip(sources, outputs, strict=True):
            writer.source(folder, source, output, None, None)
        return writer.tally
    root = folder.root
    with (
        replacing(root / "predictions.json", folder.temporary) as predictions_path,
        replacing(root / "images.json", folder.temporary) as images_path,
        predictions_path.open("w", encoding="ascii") as predictions_file,
        images_path.open("w", encoding="ascii") as images_file,
    ):
        predictions = _JsonList(predictions_file)
        images_file.write(f'{{"info": {json.dumps(writer.info())},\n"images": ')
        images = _JsonList(images_file)
        for source, output in zip(sources, outputs, strict=True):
            writer.source(folder, source, output, images, predictions)
        predictions.end()
        predictions_file.write("\n")
        images.end()
        images_file.write(f',\n"videos": {_lines(writer.videos)}')
        images_file.write(f',\n"categories": {_lines(writer.categories())},\n"annotations": []}}\n')
    with output_errors(root):
        flush_folder(root)
    return writer.tally


class _CocoWriter:
    def __init__(self, spec: ModelSpec, ids: Ids | None) -> None:
        self.tally = Tally()
        self.videos: list[dict[str, Any]] = []
        self._spec = spec
        self._ids = ids
        self._category_ids = ids.categories if ids else spec.category_ids
        self._next_id = ids.next_image if ids else 1

    def info(self) -> dict[str, Any]:
        from fashionseg._version import __version__

        return {
            "description": "garments found by fashionseg",
            "version": __version__,
            "model": self._spec.name,
            "model_checkpoint_sha256": self._spec.checkpoint_sha256,
        }

    def categories(self) -> list[dict[str, Any]]:
        names = zip(self._category_ids, self._spec.class_names, strict=True)
        return [{"id": category, "name": name, "supercategory": "clothing"} for category, name in names]

    def source(
        self,
        folder: RunFolder,
        source: Source,
        output: str,
        images: _JsonList | None,
        predictions: _JsonList | None,
    ) -> None:
        """Everything finished of one input."""
        if source.kind == "photo":
            image_id = self._ids.images.get(source.index) if self._ids else self._take_id()
            for done in folder.finished(source.index):
                if image_id is not None and not isinstance(done, PartDone):
                    self._photo(done, image_id, source, images, predictions)
        else:
            self._video(folder.finished(source.index), source, output, images, predictions)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _photo(
        self,
        done: PhotoDone,
        image_id: int,
        source: Source,
        images: _JsonList | None,
        predictions: _JsonList | None,
    ) -> None:
        self.tally.photos += 1
        if images is not None:
            height, width = done.size_hw
            images.add({"id": image_id, "file_name": source.name, "width": width, "height": height})
        self._predictions(done.frame, done.size_hw, image_id, predictions)

    def _video(
        self,
        parts: Iterable[Any],
        source: Source,
        output: str,
        images: _JsonList | None,
        predictions: _JsonList | None,
    ) -> None:
        video_id = len(self.videos) + 1
        length = 0
        size_hw = (0, 0)
        stem = frames_folder(output)
        for part in parts:
            if not isinstance(part, PartDone):
                continue  # not written by a run over these sources
            size_hw = part.size_hw
            for frame in part.frames:
                self._frame(frame, size_hw, video_id, stem, images, predictions)
                length += 1
        if not length:
            return
        self.tally.videos += 1
        self.tally.frames += length
        height, width = size_hw
        self.videos.append(
            {"id": video_id, "file_name": source.name, "width": width, "height": height, "length": length}
        )

    def _frame(
        self,
        frame: FrameRecord,
        size_hw: tuple[int, int],
        video_id: int,
        stem: str,
        images: _JsonList | None,
        predictions: _JsonList | None,
    ) -> None:
        image_id = self._take_id()
        if images is not None:
            images.add(
                {
                    "id": image_id,
                    "file_name": frame_file(stem, frame.index),
                    "width": size_hw[1],
                    "height": size_hw[0],
                    "video_id": video_id,
                    "frame_index": frame.index,
                    "timestamp": round(float(frame.time or Fraction(0)), 9),
                }
            )
        self._predictions(frame, size_hw, image_id, predictions)

    def _predictions(
        self, frame: FrameRecord, size_hw: tuple[int, int], image_id: int, predictions: _JsonList | None
    ) -> None:
        for prediction in frame.predictions:
            if not 0 <= prediction.label < len(self._category_ids):
                raise OutputError(
                    f"the journal holds class number {prediction.label}, which the model has not; use --restart"
                )
            self.tally.detections[prediction.label] += 1
            if predictions is not None:
                predictions.add(self._result(prediction, size_hw, image_id))
        self.tally.pictures.update({prediction.label for prediction in frame.predictions})

    def _result(self, prediction: Prediction, size_hw: tuple[int, int], image_id: int) -> dict[str, Any]:
        return {
            "image_id": image_id,
            "category_id": self._category_ids[prediction.label],
            "bbox": list(prediction.bbox),
            "score": prediction.score,
            "segmentation": {"size": list(size_hw), "counts": prediction.counts},
        }


def _lines(items: list[dict[str, Any]]) -> str:
    """A JSON list, one item a line."""
    return "[" + ",".join("\n" + json.dumps(item) for item in items) + ("\n]" if items else "]")
