"""What is fuzzed: the readers of strangers' files, the files they begin with, and what they may answer.

A reader either takes a file or refuses it with an error of the project's own; anything else is a fault.
"""

from __future__ import annotations

from fuzz import documents, journals, media, settings
from fuzz.mutations import blind
from fuzz.reader import Reader

from fashionseg.errors import DataError, FashionsegError, MediaError, ModelError, OutputError

READERS = {
    "images": Reader("input.img", media.photo_seeds, blind, media.read_photo, (MediaError,)),
    "video": Reader("input.vid", media.video_seeds, blind, media.read_video, (MediaError,)),
    "onnx": Reader(
        "input.onnx", documents.model_seeds, documents.damage_model, documents.read_model_file, (ModelError,)
    ),
    "coco": Reader(
        "input.json", documents.coco_seeds, documents.damage_json_file, documents.read_coco_file, (DataError,)
    ),
    "deepfashion2": Reader(
        "000001.json",
        documents.deepfashion2_seeds,
        documents.damage_json_file,
        documents.read_deepfashion2,
        (DataError,),
    ),
    "toml": Reader("input.toml", settings.seeds, settings.damage, settings.read, (FashionsegError,)),
    "journal": Reader("journal.txt", journals.seeds, journals.damage, journals.read, (OutputError,)),
}
