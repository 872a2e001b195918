"""Model files and annotation files to damage, and how they are read."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import stubs
from fuzz.mutations import blind, damaged_bytes, damaged_json, json_text
from onnx import TensorProto, helper, numpy_helper

from fashionseg.data.coco import read_coco, scan_coco, write_coco
from fashionseg.data.convert.classes import deepfashion2_classes
from fashionseg.data.convert.deepfashion2 import Filters, Job, convert_file
from fashionseg.evaluation.predictions import read_predictions
from fashionseg.model import INPUTS, OUTPUTS, describe, read_model

if TYPE_CHECKING:
    import random
    from pathlib import Path


def model_seeds() -> list[bytes]:
    """Model files without a model: graph, metadata, weights inside branches."""

    found = []
    for values in ({}, {"config": "MODEL:\n  X: 1\n", "metrics": {"segm/AP": 33.8}, "licence": "Apache-2.0"}):
        inputs = [
            helper.make_tensor_value_info(INPUTS[0], TensorProto.UINT8, ["n", "h", "w", 3]),
            helper.make_tensor_value_info(INPUTS[1], TensorProto.INT32, ["n", 2]),
        ]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in OUTPUTS]
        weight = numpy_helper.from_array(np.zeros(4, np.float32), "weight")
        branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=weight)], "b", [], [])
        nodes = [
            helper.make_node("Identity", ["weight"], [OUTPUTS[0]]),
            helper.make_node("If", ["c"], ["d"], then_branch=branch),
        ]
        model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, [weight]))
        helper.set_model_props(model, stubs.spec(**values).to_properties())
        found.append(model.SerializeToString())
    return found


def damage_model(seeds: list[bytes], rng: random.Random) -> bytes:
    """Other metadata in a sound file, or blind damage."""

    seed = rng.choice(seeds)
    if rng.random() < 0.3:
        return damaged_bytes(seed, seeds, rng)
    model = onnx.ModelProto.FromString(seed)
    for _ in range(rng.choice((1, 1, 2, 3))):
        entry = rng.choice(model.metadata_props)
        change = rng.randrange(8)
        if change < 5:
            entry.value = json_text(_changed(entry.value, rng)).decode()
        elif change == 5:
            entry.value = damaged_bytes(entry.value.encode(), [b"[1]", b"{}"], rng).decode("utf-8", "replace")
        elif change == 6:
            entry.key = rng.choice((entry.key + "x", "", "fashionseg.", entry.key.upper()))
        elif len(model.metadata_props) > 1:
            model.metadata_props.remove(entry)
    return bytes(model.SerializeToString())


def _changed(text: str, rng: random.Random) -> Any:
    try:
        return damaged_json(json.loads(text), rng)
    except (ValueError, RecursionError):
        return text


def read_model_file(path: Path) -> None:
    """As `fashionseg info`."""

    json.dumps(describe(read_model(path)))


def coco_seeds() -> list[bytes]:
    """A ground truth and a results list for it."""
    polygon = [[1.0, 1.0, 6.0, 1.0, 6.5, 7.0, 1.0, 7.0]]
    document = {
        "info": {"description": "x"},
        "images": [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in (1, 2)],
        "categories": [{"id": 3, "name": "shirt"}, {"id": 9, "name": "skirt", "supercategory": "clothes"}],
        "annotations": [
            _instance(1, 1, 3, polygon),
            _instance(2, 1, 9, {"size": [8, 8], "counts": [10, 20, 34]}),
            _instance(3, 2, 9, {"size": [8, 8], "counts": "0P2"}),
            {**_instance(4, 2, 3, []), "iscrowd": 1},
        ],
    }
    results = [
        {
            "image_id": 1,
            "category_id": 3,
            "bbox": [1, 1, 5, 6],
            "score": 0.5,
            "segmentation": {"size": [8, 8], "counts": "0P2"},
        },
        {
            "image_id": 2,
            "category_id": 9,
            "bbox": [0.5, 0, 5, 6],
            "score": 1,
            "segmentation": {"size": [8, 8], "counts": [64]},
        },
    ]
    return [json.dumps(document).encode(), json.dumps(results).encode()]


def _instance(number: int, image: int, category: int, mask: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [1.0, 1.0, 5.5, 6.0],
        "area": 30,
        "iscrowd": 0,
        "segmentation": mask,
        "occlusion": 2,
    }


def damage_json_file(seeds: list[bytes], rng: random.Random) -> bytes:
    """Other values in a sound document, or blind damage."""
    if rng.random() < 0.15:
        return blind(seeds, rng)
    return json_text(damaged_json(_parsed(rng.choice(seeds)), rng))


@cache
def _parsed(seed: bytes) -> Any:
    return json.loads(seed)


@cache
def _truth(folder: Path) -> Any:

    path = folder / "truth.json"
    path.write_bytes(coco_seeds()[0])
    return read_coco(path)


def read_coco_file(path: Path) -> None:
    """A list as predictions; all else as ground truth, written and read again."""

    if path.read_bytes()[:1] == b"[":
        read_predictions(path, _truth(path.parent))
        return
    data, _ = scan_coco(path)
    data.counts()
    assert sum(map(len, data.instances_of.values())) == len(data.instances)
    write_coco(data, path.with_name("again.json"))
    again, problems = scan_coco(path.with_name("again.json"))
    # What has an error is left out, but for categories: nobody can tell which of two of one name is meant.
    assert {problem.kind for problem in problems if problem.is_error} <= {"duplicate name"}
    assert (len(again.images), len(again.instances)) == (len(data.images), len(data.instances))


def deepfashion2_seeds() -> list[bytes]:
    """Annotations of one photo each."""
    item = {
        "segmentation": [[1, 1, 9, 1, 9, 12, 1, 12]],
        "scale": 3,
        "viewpoint": 2,
        "zoom_in": 1,
        "landmarks": [1, 2, 2] * 5,
        "style": 1,
        "bounding_box": [1, 1, 9, 12],
        "category_id": 1,
        "occlusion": 2,
        "category_name": "short sleeve top",
    }
    bare = {
        "source": "shop",
        "pair_id": 7,
        "item1": {**item, "segmentation": [[0, 0, 5, 0, 5, 5], [6, 6, 9, 6, 9, 9.5]]},
    }
    return [
        json.dumps({"item2": {**item, "category_id": 8}, "source": "user", "pair_id": 1, "item1": item}).encode(),
        json.dumps(bare).encode(),
    ]


@cache
def _job(folder: Path) -> Any:

    cv2.imwrite(str(folder / "000001.jpg"), stubs.picture((16, 12)))
    return Job(folder, deepfashion2_classes("thirteen"), Filters())


def read_deepfashion2(path: Path) -> None:
    """Converted, or faults listed; what comes out is JSON."""

    found = convert_file(path, _job(path.parent))
    json.loads(found.image or "{}")
    for _, _, text in found.annotations:
        json.loads("{" + text[1:])
    for problem in found.problems:
        str(problem.text).encode("utf-8", "replace")
