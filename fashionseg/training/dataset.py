"""`TrainingSet`: annotated photos in the form that Detectron2's loaders take.

Knows COCO JSON files, photo folders and label maps beside them, and which of their mistakes make training
impossible. Knows nothing about torch, augmentation or models. Pixels are not read here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            RLE), and sem_seg_file_name where there is a label map.
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
        """Number of garments of each class."""
        counts = [0] * len(self.class_names)
        for record in self.records:
            for annotation in record["annotations"]:
                counts[annotation["category_id"]] += 1
        return counts


def read_sets(files: Sequence[Path], folders: Sequence[Path], labels: str = "") -> TrainingSet:
    """Read and join COCO files.

    Args:
        files: COCO JSON files of the same categories.
        folders: photo folder of each file, or one for all.
        labels: folder of label maps, relative to the folder above the photos unless absolute; "" for none.

    Raises:
        DataError: a file is missing or damaged, categories differ, a photo is missing, or there is no annotation.
    """
    if len(folders) not in (1, len(files)):
        raise DataError(f"{len(files)} annotation files need one photo folder or {len(files)}, not {len(folders)}")
    homes = list(folders) * (len(files) if len(folders) == 1 else 1)
    sets = [_read_coco(file, home, labels) for file, home in zip(files, homes, strict=True)]
    for other in sets[1:]:
        require_same_classes(sets[0], other)
    joined = TrainingSet(
        sets[0].class_names,
        sets[0].category_ids,
        [record for one in sets for record in one.records],
        ", ".join(one.source for one in sets),
    )
    if not any(record["annotations"] for record in joined.records):
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


def _read_coco(file: Path, folder: Path, labels: str) -> TrainingSet:
    document = _parsed(file)
    try:
        categories = sorted(document["categories"], key=lambda c: int(c["id"]))
        index = {int(c["id"]): i for i, c in enumerate(categories)}
        images = {image["id"]: _record(image, folder, labels) for image in document["images"]}
        for annotation in document["annotations"]:
            _add(images, annotation, index, file)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file} is not a COCO file: {type(error).__name__} {error}; see: fashionseg data check"
        ) from None
    if not categories:
        raise DataError(f"{file} lists no categories")
    names = tuple(str(c["name"]) for c in categories)
    if len(set(names)) < len(names) or len(index) < len(names):
        raise DataError(f"{file} lists a category twice")
    _require_photos(list(images.values()), file, folder)
    return TrainingSet(names, tuple(index), list(images.values()), str(file))


def _parsed(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"annotation file not found: {file}") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not a JSON file: {error}") from error
    missing = [
        k for k in ("images", "annotations", "categories") if not isinstance(document, dict) or k not in document
    ]
    if missing:
        raise DataError(f"{file} is not a COCO file: it has no {', '.join(missing)}")
    checked: dict[str, Any] = document
    return checked


def _record(image: dict[str, Any], folder: Path, labels: str) -> dict[str, Any]:
    photo = folder / image["file_name"]
    record = {
        "file_name": str(photo),
        "image_id": image["id"],
        "height": int(image["height"]),
        "width": int(image["width"]),
        "annotations": [],
    }
    label_map = folder.parent / labels / f"{Path(image['file_name']).stem}.png"
    if labels and label_map.is_file():
        record["sem_seg_file_name"] = str(label_map)
    return record


def _add(images: dict[Any, dict[str, Any]], annotation: dict[str, Any], index: dict[int, int], file: Path) -> None:
    name = f"{file}: annotation {annotation['id']}"
    if annotation["image_id"] not in images:
        raise DataError(f"{name} belongs to image {annotation['image_id']}, which is not listed")
    if annotation["category_id"] not in index:
        raise DataError(f"{name} has category {annotation['category_id']}, which is not listed")
    record = images[annotation["image_id"]]
    x, y, width, height = (float(v) for v in annotation["bbox"])
    if width <= 0 or height <= 0 or x >= record["width"] or y >= record["height"] or x + width <= 0 or y + height <= 0:
        raise DataError(f"{name} has the box {annotation['bbox']}, outside its photo; see: fashionseg data check")
    record["annotations"].append(
        {
            "bbox": [x, y, width, height],
            "bbox_mode": XYWH_ABS,
            "category_id": index[annotation["category_id"]],
            "iscrowd": int(annotation.get("iscrowd", 0)),
            "segmentation": _mask(annotation["segmentation"], (record["height"], record["width"]), name),
        }
    )


def _mask(segmentation: Any, size_hw: tuple[int, int], name: str) -> Any:
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
        if not polygons:
            raise DataError(f"{name} has no polygon of three points; see: fashionseg data check")
        return polygons
    if tuple(segmentation["size"]) != size_hw:
        raise DataError(f"{name} has a mask of {segmentation['size']} for a photo of {list(size_hw)} (height, width)")
    if isinstance(segmentation["counts"], list):
        from pycocotools import mask as coco_mask

        return coco_mask.frPyObjects(segmentation, *size_hw)
    return segmentation


def _require_photos(records: list[dict[str, Any]], file: Path, folder: Path) -> None:
    missing = [record["file_name"] for record in records if not Path(record["file_name"]).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(records)} photos of {file} are not in {folder} (first: {missing[0]}); "
            "name their folder with --images"
        )
