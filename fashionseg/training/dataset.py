"""`TrainingSet`: annotated photos in the form that Detectron2's loaders take.

Knows photo folders, label maps beside them, and which mistakes make training impossible that do no harm elsewhere;
COCO files are read by `fashionseg.data.coco`. Knows nothing about torch, augmentation or models. Pixels are not read
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.data.coco import read_coco
from fashionseg.data.label_map import label_map_path, label_map_problem
from fashionseg.data.photos import photo_folder, read_size_hw, safe_path
from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.data.coco import CocoData, Image, Instance

XYWH_ABS = 1
"""Value of `detectron2.structures.BoxMode.XYWH_ABS`, so that reading annotations needs no Detectron2."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Annotated photos.

    Attributes:
        class_names: name of each contiguous class index.
        category_ids: COCO category id of each contiguous class index.
        records: one dict a photo as Detectron2 defines it: file_name, image_id, height, width, annotations (bbox
            x y w h in pixels, bbox_mode, category_id as contiguous index, iscrowd, segmentation as polygons or
            RLE); and label_map, the file of the photo's label map, where there is one.
        source: the files it was read from, for messages.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    records: list[dict[str, Any]]
    source: str

    def has_rle(self) -> bool:
        """Whether a mask is stored as RLE, which Detectron2's polygon format cannot hold."""
        return any(isinstance(a["segmentation"], dict) for r in self.records for a in r["annotations"])

    def instances(self) -> list[int]:
        """Number of garments of each class, crowds not counted."""
        counts = [0] * len(self.class_names)
        for record in self.records:
            for annotation in record["annotations"]:
                counts[annotation["category_id"]] += not annotation["iscrowd"]
        return counts


def read_sets(files: Sequence[Path], folders: Sequence[Path], labels: str = "") -> TrainingSet:
    """Read and join COCO files.

    Args:
        files: COCO JSON files of the same categories.
        folders: photo folder of each file, or one for all; none to look beside each file.
        labels: folder of label maps, relative to the folder above the photos unless absolute; "" for none.

    Raises:
        DataError: a file is missing or damaged, categories differ, a photo is missing, or there is no annotation.
    """
    if len(folders) not in (0, 1, len(files)):
        raise DataError(f"{len(files)} annotation files need one photo folder or {len(files)}, not {len(folders)}")
    given: list[Path | None] = [*folders] or [None]
    homes = given if len(given) == len(files) else given * len(files)
    sets = [_read_coco(file, home, labels) for file, home in zip(files, homes, strict=True)]
    for other in sets[1:]:
        require_same_classes(sets[0], other)
    joined = TrainingSet(
        sets[0].class_names,
        sets[0].category_ids,
        [record for one in sets for record in one.records],
        ", ".join(one.source for one in sets),
    )
    if not any(joined.instances()):
        raise DataError(f"{joined.source} has no annotation to learn from")
    return joined


def require_same_classes(one: TrainingSet, other: TrainingSet) -> None:
    """Refuse two sets whose categories differ.

    Raises:
        DataError: names or ids of the categories differ.
    """
    if (one.class_names, one.category_ids) != (other.class_names, other.category_ids):
        raise DataError(f"categories differ: {one.source} has {_classes(one)}, {other.source} has {_classes(other)}")


def _classes(data: TrainingSet) -> str:
    return ", ".join(f"{name} ({i})" for name, i in zip(data.class_names, data.category_ids, strict=True))


def _read_coco(file: Path, folder: Path | None, labels: str) -> TrainingSet:
    data = read_coco(file)
    if not data.categories:
        raise DataError(f"{file} lists no categories")
    folder = photo_folder(data, folder)
    records = [_record(image, data, folder, labels) for image in data.images]
    _require_photos(records, file, folder)
    return TrainingSet(data.class_names, data.category_ids, records, str(file))


def _record(image: Image, data: CocoData, folder: Path, labels: str) -> dict[str, Any]:
    photo = safe_path(folder, image.file_name)
    if photo is None:
        raise DataError(f"{data.where()}: the file name {image.file_name!r} leads out of the folder of photos")
    record = {
        "file_name": str(photo),
        "image_id": image.id,
        "height": image.height,
        "width": image.width,
        "annotations": [_annotation(one, image, data) for one in data.instances_of[image.id]],
    }
    label_map = label_map_path(folder.parent / labels, image.file_name)
    if labels and label_map.is_file():
        record["label_map"] = str(label_map)
    return record


def _annotation(instance: Instance, image: Image, data: CocoData) -> dict[str, Any]:
    problem = None
    if min(instance.bbox[2:]) <= 0:
        problem = f"the box {list(instance.bbox)}, which has no area"
    elif instance.segmentation is None:
        problem = "no mask to learn from"
    if problem:
        raise DataError(
            f"{data.where()}: annotation {instance.id} has {problem}; "
            f"leave such out with: fashionseg data filter {data.where()} -o OUT.json --need-masks"
        )
    return {
        "bbox": list(instance.bbox),
        "bbox_mode": XYWH_ABS,
        "category_id": data.label_of[instance.category_id],
        "iscrowd": int(instance.is_crowd),
        "segmentation": _mask(instance.segmentation, image.size_hw),
    }


def _mask(segmentation: Any, size_hw: tuple[int, int]) -> Any:
    """Polygons as they are; run lengths in COCO's compressed form."""
    if isinstance(segmentation, list):
        return segmentation
    from fashionseg.data.segmentation import rle_counts

    return {"size": list(size_hw), "counts": rle_counts(segmentation, size_hw)}


def _require_photos(records: list[dict[str, Any]], file: Path, folder: Path) -> None:
    missing = [record["file_name"] for record in records if not Path(record["file_name"]).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(records)} photos of {file} are not in {folder} (first: {missing[0]}); "
            "name their folder with --images"
        )


def require_readable(data: TrainingSet) -> None:
    """Refuse photos and label maps that are damaged or not of the annotated size, from their headers.

    Raises:
        DataError: with the first of them and their number.
    """
    problems = [text for record in data.records if (text := _photo_problem(record) or _map_problem(record))]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DataError(f"{data.source}: {problems[0]}{more}; see: fashionseg data check")


def _photo_problem(record: dict[str, Any]) -> str:
    size = read_size_hw(Path(record["file_name"]))
    if isinstance(size, str):
        return size
    if size != (record["height"], record["width"]):
        annotated = f"{record['width']}x{record['height']}"
        return f"{record['file_name']} is {size[1]}x{size[0]} pixels, its annotations say {annotated}"
    return ""


def _map_problem(record: dict[str, Any]) -> str:
    if "label_map" not in record:
        return ""
    text = label_map_problem(Path(record["label_map"]), (record["height"], record["width"]))
    return text and f"the label map {record['label_map']} {text}"
