"""Which classes a checkpoint finds: names and category ids, from whoever says so first.

Knows what users, training runs and well-known data sets say about classes. Knows nothing about networks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

METADATA_NAME = "metadata.json"
"""What `fashionseg train` writes beside its checkpoints."""

COCO_CLASSES = 80


@dataclass(frozen=True, slots=True)
class Classes:
    """Name and category id of each contiguous class index."""

    names: tuple[str, ...]
    category_ids: tuple[int, ...]


def parse_classes(words: Sequence[str]) -> Classes:
    """Classes from words such as "shirt" (ids count from 1) or "shirt:5" (an id of its own).

    Raises:
        ValueError: an empty name, or an id that is not a number.
    """
    names, ids = [], []
    for position, word in enumerate(words, 1):
        name, colon, number = word.rpartition(":")
        if not colon:
            name, number = word, str(position)
        if not name.strip() or not number.strip().isdecimal():
            raise ValueError(f"{word!r} is not a class: write NAME or NAME:ID")
        names.append(name.strip())
        ids.append(int(number))
    return Classes(tuple(names), tuple(ids))


def read_metadata(checkpoint: Path) -> dict[str, Any]:
    """What `metadata.json` beside a checkpoint says; empty where there is none.

    Raises:
        ExportError: the file is damaged.
    """
    path = checkpoint.with_name(METADATA_NAME)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path} beside the checkpoint is damaged: {error}; mend or remove it") from error
    if not isinstance(content, dict):
        raise ExportError(f"{path} beside the checkpoint is damaged: it holds no table; mend or remove it")
    return content


def find_classes(number: int, told: Sequence[tuple[str, dict[str, Any]]], where: Path) -> Classes:
    """The classes of a model with `number` classes.

    Args:
        number: what its config says.
        told: who may name them, first come first served: (origin for messages, a table that may hold "class_names"
            and "category_ids").
        where: the checkpoint, for messages.

    Raises:
        ExportError: nobody names them, or the number is another.
    """
    for origin, table in told:
        if table.get("class_names"):
            classes = _from_table(table, origin)
            if len(classes.names) != number:
                raise ExportError(
                    f"{origin} names {len(classes.names)} classes ({', '.join(classes.names)}), but the config of "
                    f"{where} has {number}"
                )
            return classes
    known = _well_known(number)
    if known is None:
        raise ExportError(f"nothing names the {number} classes of {where}; name them with --classes NAME,NAME,...")
    return known


def _from_table(table: dict[str, Any], origin: str) -> Classes:
    names = table["class_names"]
    ids = table.get("category_ids") or list(range(1, len(names) + 1))
    if not all(isinstance(name, str) for name in names) or not all(type(i) is int for i in ids):
        raise ExportError(f"{origin} has damaged class names or category ids")
    return Classes(tuple(names), tuple(ids))


def _well_known(number: int) -> Classes | None:
    """The classes of the data sets that models with so many classes are usually trained on."""
    from fashionseg.data.convert.classes import DEEPFASHION2_NAMES, FIVE_NAMES

    if number == COCO_CLASSES:
        from detectron2.data import MetadataCatalog

        coco = MetadataCatalog.get("coco_2017_val")
        return Classes(tuple(coco.thing_classes), tuple(coco.thing_dataset_id_to_contiguous_id))
    for names in (FIVE_NAMES, DEEPFASHION2_NAMES):
        if number == len(names):
            return Classes(tuple(names), tuple(range(1, number + 1)))
    return None
