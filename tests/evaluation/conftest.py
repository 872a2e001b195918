"""Quick bootstraps, and a data set of drawn photos on disk."""

import json

import pytest
import stubs

from fashionseg.evaluation import bootstrap


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """The tests ask whether intervals are right, not how narrow they are."""
    monkeypatch.setattr(bootstrap, "MOST_ROUNDS", 100)
    monkeypatch.setattr(bootstrap, "LEAST_ROUNDS", 20)


@pytest.fixture
def photo_set(tmp_path):
    """A COCO file of five photos, two of them without trousers; photos lie in `images/` beside it."""
    names = [path.name for path in stubs.write_photos(tmp_path / "images", 3)]
    names += [path.name for path in stubs.write_photos(tmp_path / "more", 2, trousers=False)]
    images, annotations = [], []
    for number, name in enumerate(names, 1):
        if number > 3:
            name = f"bare-{name}"
            (tmp_path / "more" / name[5:]).rename(tmp_path / "images" / name)
        images.append({"id": number, "file_name": name, "height": 80, "width": 64})
        garments = [(20, (16, 10, 33, 29))] + ([(10, (21, 40, 22, 31))] if number <= 3 else [])
        for category, (x, y, width, height) in garments:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                }
            )
    categories = [{"id": 10, "name": "Trousers"}, {"id": 20, "name": "shirt"}]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
