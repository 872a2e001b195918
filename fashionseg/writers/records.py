"""What a run remembers of each finished photo and part of a video, and its form in the journal.

Knows nothing about files. Coordinates are pixels of the original photo or of the upright video frame.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fashionseg.errors import OutputError

if TYPE_CHECKING:
    from fashionseg.writers.journal import Record

SCORE_DIGITS = 6
BOX_DIGITS = 3
"""Decimals of scores and of box coordinates in pixels: far below what a model can tell."""


MAX_NAME = 4000
"""Characters of a path within the output folder; far more than `names.py` makes."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One garment.

    Attributes:
        label: contiguous class index.
        score: 0..1.
        bbox: x, y, width, height in pixels, as COCO has it.
        counts: compressed RLE counts of its mask over the whole picture.
    """

    label: int
    score: float
    bbox: tuple[float, float, float, float]
    counts: str

    def to_json(self) -> list[Any]:
        """As a short JSON list."""
        return [self.label, self.score, *self.bbox, self.counts]

    @classmethod
    def from_json(cls, value: list[Any]) -> Prediction:
        """The inverse of `to_json`."""
        label, score, x, y, width, height, counts = value
        return cls(int(label), float(score), (float(x), float(y), float(width), float(height)), str(counts))


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """A finished picture: frame `index` of its source, at `time` seconds (None for a photo)."""

    index: int
    time: Fraction | None
    predictions: tuple[Prediction, ...]

    def to_json(self) -> list[Any]:
        """As a short JSON list; the time as an exact fraction."""
        time = None if self.time is None else str(self.time)
        return [self.index, time, [prediction.to_json() for prediction in self.predictions]]

    @classmethod
    def from_json(cls, value: list[Any]) -> FrameRecord:
        """The inverse of `to_json`."""
        index, time, predictions = value
        return cls(
            int(index),
            None if time is None else _fraction(time),
            tuple(Prediction.from_json(prediction) for prediction in predictions),
        )


@dataclass(frozen=True, slots=True)
class PhotoDone:
    """A finished photo: `output` is the annotated file relative to the output folder, or None."""

    source: int
    size_hw: tuple[int, int]
    output: str | None
    frame: FrameRecord

    def to_record(self) -> Record:
        """For the journal."""
        return {
            "t": "photo",
            "s": self.source,
            "size": list(self.size_hw),
            "out": self.output,
            "frame": self.frame.to_json(),
        }


@dataclass(frozen=True, slots=True)
class PhotoFailed:
    """A photo that cannot be segmented, so that a run that goes on need not begin its batch anew."""

    source: int
    reason: str
    output: None = None

    def to_record(self) -> Record:
        """For the journal."""
        return {"t": "failed", "s": self.source, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class PartDone:
    """A finished part of a video: number `part`, from 0, of source number `source`.

    `folder` is that of its frames' files relative to the output folder, or None where none are written.
    """

    source: int
    part: int
    size_hw: tuple[int, int]
    frames: tuple[FrameRecord, ...]
    folder: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Its frames' files relative to the output folder."""
        return tuple(frame_file(self.folder, frame.index) for frame in self.frames) if self.folder else ()

    def to_record(self) -> Record:
        """For the journal."""
        return {
            "t": "part",
            "s": self.source,
            "part": self.part,
            "size": list(self.size_hw),
            "folder": self.folder,
            "frames": [frame.to_json() for frame in self.frames],
        }


@dataclass(frozen=True, slots=True)
class VideoDone:
    """A finished video: `broken` is the reason why it ended before its end, or None."""

    source: int
    frames: int
    output: str | None
    broken: str | None

    def to_record(self) -> Record:
        """For the journal."""
        return {"t": "video", "s": self.source, "frames": self.frames, "out": self.output, "broken": self.broken}


Done = PhotoDone | PhotoFailed | PartDone | VideoDone


def frame_file(folder: str, index: int) -> str:
    """The file of a video's frame, relative to the output folder."""
    return f"{folder}/{index:06d}.jpg"


def parse_record(record: Record, where: str) -> Done:
    """A record of the journal `where`.

    Raises:
        OutputError: it is not one of ours.
    """
    try:
        return _PARSERS[record["t"]](record)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise OutputError(f"{where} holds a record this fashionseg cannot read ({error}); use --restart") from error


def _parse_photo(record: Record) -> Done:
    return PhotoDone(int(record["s"]), _size(record), _name(record["out"]), FrameRecord.from_json(record["frame"]))


def _parse_failed(record: Record) -> Done:
    return PhotoFailed(int(record["s"]), str(record["reason"]))


def _parse_part(record: Record) -> Done:
    frames = tuple(FrameRecord.from_json(frame) for frame in record["frames"])
    return PartDone(int(record["s"]), int(record["part"]), _size(record), frames, _name(record["folder"]))


def _parse_video(record: Record) -> Done:
    return VideoDone(int(record["s"]), int(record["frames"]), _name(record["out"]), _text(record["broken"]))


def _size(record: Record) -> tuple[int, int]:
    height, width = record["size"]
    return int(height), int(width)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is no text")


def _name(value: Any) -> str | None:
    """The name of a file, as a system can have it."""
    name = _text(value)
    if name is not None and "\0" in name:
        raise ValueError("a name holds a null byte")
    if name is not None and (len(name) > MAX_NAME or any(len(os.fsencode(part)) > 255 for part in name.split("/"))):
        raise ValueError("a name is longer than a system takes")  # as is one without bytes that stand for it
    return name


def _fraction(text: Any) -> Fraction:
    numerator, _, denominator = str(text).partition("/")
    value = Fraction(int(numerator), int(denominator or 1))
    float(value)  # an OverflowError where these are no seconds
    return value


_PARSERS = {"photo": _parse_photo, "failed": _parse_failed, "part": _parse_part, "video": _parse_video}
