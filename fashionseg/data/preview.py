"""A contact sheet: photos of a data set with their ground truth drawn in, as one picture.

Draws as `segment` draws, so that ground truth and detections look alike. Knows nothing about how masks are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.photos import safe_path
from fashionseg.data.segmentation import instance_mask
from fashionseg.detections import Detections
from fashionseg.drawing import Annotator
from fashionseg.errors import DataError, MediaError
from fashionseg.masks import PastedMask
from fashionseg.media.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData, Image

BACKGROUND, CAPTION = (32, 29, 27), (214, 209, 205)
CAPTION_HEIGHT = 26
GAP = 10


@dataclass(frozen=True, slots=True)
class SheetOptions:
    """What a contact sheet shows.

    Attributes:
        count: photos at most.
        columns: tiles in a row.
        tile: height of a photo on the sheet, pixels; its width is at most 4/3 of that.
        seed: of the choice; None takes the first photos.
        captions: file names below the photos.
    """

    count: int = 12
    columns: int = 4
    tile: int = 420
    seed: int | None = None
    captions: bool = True


def contact_sheet(
    data: CocoData, folder: Path, options: SheetOptions, progress: Callable[[int], None] | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Draw a contact sheet.

    Returns:
        The sheet, uint8 [H, W, 3], BGR, and the reasons for which photos are missing on it.

    Raises:
        DataError: not one photo can be shown.
    """
    annotator = Annotator(data.class_names)
    tiles: list[NDArray[np.uint8]] = []
    failures: list[str] = []
    for image in _chosen(data, options):
        try:
            tiles.append(_tile(data, image, folder, annotator, options))
        except MediaError as error:
            failures.append(str(error))
        if progress is not None:
            progress(len(tiles) + len(failures))
    if not tiles:
        raise DataError(f"no photo of {data.where()} can be shown: {failures[0] if failures else 'it has none'}")
    return _arranged(tiles, options.columns), failures


def _chosen(data: CocoData, options: SheetOptions) -> list[Image]:
    if options.seed is None:
        return list(data.images[: options.count])
    order = np.random.default_rng(options.seed).permutation(len(data.images))[: options.count]
    return [data.images[k] for k in sorted(order.tolist())]


def _tile(data: CocoData, image: Image, folder: Path, annotator: Annotator, options: SheetOptions) -> NDArray[np.uint8]:
    path = safe_path(folder, image.file_name)
    if path is None:
        raise MediaError(f"{image.file_name} leads out of the folder of photos")
    photo = read_image(path)
    if photo.shape[:2] != image.size_hw:
        raise MediaError(
            f"{path} is {photo.shape[1]}x{photo.shape[0]} pixels, annotated as {image.width}x{image.height}"
        )
    scale = min(options.tile / image.height, options.tile * 4 / 3 / image.width)
    size_hw = max(round(image.height * scale), 1), max(round(image.width * scale), 1)
    small = _resized(photo, size_hw)
    _draw(small, data, image, annotator)
    return _captioned(small, image.file_name) if options.captions else small


def _draw(picture: NDArray[np.uint8], data: CocoData, image: Image, annotator: Annotator) -> None:
    """Draw the ground truth of a photo into its smaller copy."""
    size_hw = picture.shape[0], picture.shape[1]
    instances = data.instances_of[image.id]
    masks = [_scaled(instance_mask(instance, image.size_hw), image.size_hw, size_hw) for instance in instances]
    factor = np.array([size_hw[1] / image.width, size_hw[0] / image.height] * 2, np.float32)
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (i.bbox for i in instances)], np.float32).reshape(-1, 4)
    found = Detections(
        boxes * factor,
        np.ones(len(instances), np.float32),
        np.array([data.label_of[i.category_id] for i in instances], np.int32),
        np.zeros((len(instances), 1, 1), np.float32),
        size_hw,
    )
    annotator.draw(picture, found, masks, ["crowd" if i.is_crowd else "" for i in instances])


def _scaled(mask: PastedMask, size_hw: tuple[int, int], to_hw: tuple[int, int]) -> PastedMask:
    """A mask of a photo of `size_hw` in its copy of `to_hw`."""
    full = np.zeros(size_hw, np.uint8)
    if mask.area:
        full[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width] = mask.bits * 255
    return PastedMask.from_bits((_resized(full, to_hw) > 127).astype(np.uint8))


def _resized(picture: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    smaller = size_hw[0] < picture.shape[0]
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(picture, size_hw[::-1], interpolation=way), np.uint8)


def _captioned(picture: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    strip = Picture.new("RGB", (picture.shape[1], CAPTION_HEIGHT), BACKGROUND[::-1])
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13)
    text = name.encode("utf-8", "replace").decode()
    while len(text) > 1 and draw.textlength(text, font=font) > picture.shape[1] - 4:
        text = "…" + text[2:]
    draw.text((2, 5), text, font=font, fill=CAPTION[::-1])
    return np.vstack([picture, np.asarray(strip, np.uint8)[:, :, ::-1]])


def _arranged(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Tiles in rows of `columns`; a column is as wide as its widest tile, a row as high as its highest."""
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    widths = [max(row[k].shape[1] for row in rows if k < len(row)) for k in range(len(rows[0]))]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    size = (sum(heights) + GAP * (len(heights) + 1), sum(widths) + GAP * (len(widths) + 1), 3)
    sheet = np.full(size, BACKGROUND, np.uint8)
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for tile, width in zip(row, widths, strict=False):
            left = x + (width - tile.shape[1]) // 2
            sheet[y : y + tile.shape[0], left : left + tile.shape[1]] = tile
            x += width + GAP
        y += height + GAP
    return sheet


def write_sheet(sheet: NDArray[np.uint8], path: Path) -> None:
    """Write a sheet, uint8 [H, W, 3], BGR, as .jpg or .png.

    Raises:
        OutputError: it cannot be written.
        MediaError: it is too large for JPEG.
    """
    from fashionseg.files import make_folder, write_bytes
    from fashionseg.media.images import encode_jpeg

    data = cv2.imencode(".png", sheet)[1].tobytes() if path.suffix.lower() == ".png" else encode_jpeg(sheet, 90)
    make_folder(path.parent)
    write_bytes(path, data)
