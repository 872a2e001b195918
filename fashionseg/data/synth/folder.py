"""A folder of drawn pictures with their COCO file, and the same for one split of it.

Picture number i of a seed is always the same, whatever the count and however many processes draw.
Knows nothing about how pictures are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.coco import Category, CocoData, Image, Instance, write_coco
from fashionseg.data.parallel import ordered_map
from fashionseg.data.synth.wardrobe import CLASS_NAMES
from fashionseg.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

JPEG_QUALITY = (84, 96)
CATEGORIES = tuple(
    Category(number, name, {"supercategory": "clothing"}) for number, name in enumerate(CLASS_NAMES, start=1)
)
INFO = {
    "description": "Drawn figures in five kinds of garment, made by `fashionseg data synth`; free of photos",
    "version": "1",
}


@dataclass(frozen=True, slots=True)
class SynthOptions:
    """What to draw.

    Attributes:
        count: number of pictures.
        size_hw: height and width in pixels.
        seed: picture i depends on seed and i alone.
        empty_share: of pictures without anybody, 0..1.
        kind: of background, one of `backdrop.KINDS`; None for all.
        people: most figures in a picture that is not empty, 1 to 4; a picture has this many or fewer.
        plain: see `draw_scene`.
    """

    count: int
    size_hw: tuple[int, int]
    seed: int = 0
    empty_share: float = 0.1
    kind: str | None = None
    people: int = 4
    plain: bool = False


def write_synth(
    out: str | Path,
    options: SynthOptions,
    *,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> CocoData:
    """Draw pictures into `out/images/` and their labels into `out/annotations.json`.

    Args:
        out: a new or empty folder.
        options: what to draw.
        processes: how many draw at a time.
        progress: called with the number of pictures done so far.

    Raises:
        OutputError: the folder is not empty or cannot be written.
    """
    folder = Path(out)
    images_folder = folder / "images"
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(f"{folder} is not empty; name a new folder for the drawn pictures")
        images_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error
    images: list[Image] = []
    instances: list[Instance] = []
    jobs = [(index, options, images_folder) for index in range(options.count)]
    for image, found in ordered_map(_draw_one, jobs, processes):
        images.append(image)
        instances += [_numbered(instance, len(instances) + k) for k, instance in enumerate(found, start=1)]
        if progress is not None:
            progress(len(images))
    data = CocoData(tuple(images), tuple(instances), CATEGORIES, {"info": dict(INFO, seed=options.seed)}, None)
    write_coco(data, folder / "annotations.json")
    return data


def _numbered(instance: Instance, number: int) -> Instance:
    return Instance(
        number, instance.image_id, instance.category_id, instance.bbox, instance.segmentation, instance.area
    )


def _draw_one(job: tuple[int, SynthOptions, Path]) -> tuple[Image, list[Instance]]:
    """Draw and save picture `index`; runs in a worker process."""
    import cv2

    from fashionseg.data.synth.scene import draw_scene
    from fashionseg.files import write_bytes

    index, options, folder = job
    rng = np.random.default_rng([options.seed, index])
    scene = draw_scene(
        rng,
        options.size_hw,
        kind=options.kind,
        empty_share=options.empty_share,
        most=options.people,
        plain=options.plain,
    )
    quality = int(rng.integers(*JPEG_QUALITY))
    name = f"{index + 1:06d}.jpg"
    _, jpeg = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    write_bytes(folder / name, jpeg.tobytes())
    height, width = options.size_hw
    image = Image(index + 1, name, width, height, {"backdrop": scene.kind})
    return image, [to_instance(mask, index + 1, label) for label, mask in scene.instances]


def to_instance(mask: NDArray[np.uint8], image_id: int, label: int, number: int = 0) -> Instance:
    """An annotation with a compressed run-length mask.

    Args:
        mask: uint8 [H, W], 0 or 1, not empty.
        image_id: of its picture.
        label: index into `CLASS_NAMES`; category ids start at 1.
        number: id of the annotation.
    """
    from fashionseg.masks import PastedMask
    from fashionseg.rle import encode_rle

    pasted = PastedMask.from_bits(mask)
    size = [mask.shape[0], mask.shape[1]]
    segmentation = {"size": size, "counts": encode_rle(pasted, (size[0], size[1]))}
    box = (float(pasted.x), float(pasted.y), float(pasted.width), float(pasted.height))
    return Instance(number, image_id, label + 1, box, segmentation, pasted.area)
