"""YOLO segmentation labels into COCO.

One text file a photo, one line an object: class index, then x y of each point of a polygon in shares of width and
height (https://docs.ultralytics.com/datasets/segment/). Photos lie in `images/`, labels in `labels/` under the same
names; a photo without a label file, or with an empty one, shows no object. A label file without a photo is a fault:
where it is only named wrongly, its photo would be taken to show nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.data.coco import CocoData, write_coco
from fashionseg.data.convert.report import Report, report_path
from fashionseg.data.parallel import ordered_map
from fashionseg.data.photos import find_photos, labels_without_photo, read_size_hw
from fashionseg.data.records import Category, Image, Instance, Problem
from fashionseg.data.segmentation import polygon_area
from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_FILE_BYTES = 64 * 1024**2
SHARE_TOLERANCE = 0.01
"""How far a coordinate may lie beyond 0..1; rounding of other tools goes that far. It is clipped."""

_NAMES_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")


@dataclass(frozen=True, slots=True)
class _Job:
    root: Path
    name: str
    classes: int


@dataclass(frozen=True, slots=True)
class _Photo:
    name: str
    size_hw: tuple[int, int] | None
    polygons: tuple[tuple[int, tuple[float, ...]], ...]
    areas: tuple[int, ...]
    problems: tuple[Problem, ...]


def convert_yolo(
    root: str | Path,
    out: str | Path,
    names: Sequence[str] | None = None,
    *,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Convert `root` (with `images/` and `labels/`) into the COCO file `out` and a report beside it.

    Args:
        root: such as the folder of a data.yaml.
        out: the .json file; its file names are relative to `root/images`.
        names: of the classes by index; None reads data.yaml, classes.txt or obj.names in `root`.
        processes: how many convert at a time.
        progress: called with the number of photos read so far.

    Raises:
        DataError: `root` is no such folder, no photo has a label file, or nothing is left.
        OutputError: a file cannot be written.
    """
    root, out = Path(root), Path(out)
    if not (root / "labels").is_dir():
        raise DataError(f"{root} has no folder labels/ beside images/, as YOLO data sets have")
    listed = list(names) if names else read_names(root)
    categories = tuple(Category(k, name, {}) for k, name in enumerate(listed, start=1))
    photos = find_photos(root / "images")
    if not any(_label_path(root, name).exists() for name in photos):
        raise DataError(
            f"no photo below {root / 'images'} has a label file, so that all would show nothing: "
            f"{photos[0]} takes {_label_path(root, photos[0])}"
        )
    report, images, instances = Report(), list[Image](), list[Instance]()
    report.add_problems(_strays(root, photos))
    jobs = (_Job(root, name, len(listed)) for name in photos)
    for photo in ordered_map(_convert_photo, jobs, processes):
        report.photos_read += 1
        report.add_problems(list(photo.problems))
        if photo.size_hw is not None:
            _append(photo, photo.size_hw, images, instances)
        else:
            report.left_out["a fault, see problems"] += 1
        if progress is not None:
            progress(report.photos_read)
    data = CocoData(tuple(images), tuple(instances), categories, {"info": {"description": f"YOLO labels of {root}"}})
    report.photos_kept = len(images)
    report.instances.update(data.counts())
    report.write(report_path(out), source=str(root), classes=listed)
    if not images:
        raise DataError(f"nothing is left of {root}: see {report_path(out)}")
    write_coco(data, out)
    return report


def _label_path(root: Path, photo: str) -> Path:
    return (root / "labels" / photo).with_suffix(".txt")


def _strays(root: Path, photos: Sequence[str]) -> list[Problem]:
    """Label files without a photo; lists of class names, which some tools put beside labels, are none."""
    return [
        Problem("missing photo", f"labels/{name}", "no photo in images/ has the name of this label file")
        for name in labels_without_photo(root / "labels", ".txt", photos)
        if name.rpartition("/")[2] not in _NAMES_FILES
    ]


def _append(photo: _Photo, size_hw: tuple[int, int], images: list[Image], instances: list[Instance]) -> None:
    height, width = size_hw
    images.append(Image(len(images) + 1, photo.name, width, height))
    for (label, polygon), area in zip(photo.polygons, photo.areas, strict=True):
        x0, y0, x1, y1 = min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])
        box = (x0, y0, x1 - x0, y1 - y0)
        instances.append(Instance(len(instances) + 1, len(images), label + 1, box, [list(polygon)], area))


def _convert_photo(job: _Job) -> _Photo:
    """Runs in a worker process. A photo with a faulty line is left out: an object would be missing in it."""
    size = read_size_hw(job.root / "images" / job.name)
    if isinstance(size, str):
        return _Photo(job.name, None, (), (), (Problem("broken photo", job.name, size),))
    labels = _label_path(job.root, job.name)
    try:
        if labels.exists() and labels.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large for the labels of one photo")
        lines = labels.read_text(encoding="utf-8").splitlines() if labels.exists() else []
    except (OSError, ValueError) as error:
        return _Photo(job.name, None, (), (), (Problem("broken labels", labels.name, str(error)),))
    found, areas, problems = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parsed = _parse_line(line, job.classes, size)
        area = polygon_area([list(parsed[1])], size) if not isinstance(parsed, str) else 0
        if isinstance(parsed, str) or not area:
            text = parsed if isinstance(parsed, str) else "the polygon covers no pixel"
            problems.append(Problem("faulty line", f"{labels.name} line {number}", text))
            continue
        found.append(parsed)
        areas.append(area)
    return _Photo(job.name, None if problems else size, tuple(found), tuple(areas), tuple(problems))


def _parse_line(line: str, classes: int, size_hw: tuple[int, int]) -> tuple[int, tuple[float, ...]] | str:
    """Class index and polygon in pixels, or what is wrong with the line."""
    words = line.split()
    try:
        label, shares = int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        return "is not a class index and numbers"
    if not 0 <= label < classes:
        return f"class {label} is not among the {classes} classes"
    if len(shares) == 4:
        return "is a box, not a polygon: this is a detection data set"
    if len(shares) < 6 or len(shares) % 2:
        return f"{len(shares) // 2} points are no polygon: it takes three"
    if not all(isfinite(s) and -SHARE_TOLERANCE <= s <= 1 + SHARE_TOLERANCE for s in shares):
        return "a coordinate is not a share of the photo, 0 to 1"
    sides = (size_hw[1], size_hw[0]) * (len(shares) // 2)
    polygon = (round(min(max(share, 0.0), 1.0) * side, 2) for share, side in zip(shares, sides, strict=True))
    return label, tuple(polygon)


def read_names(root: Path) -> list[str]:
    """Class names by index of a YOLO data set, from the files that such data sets have.

    Raises:
        DataError: there is none, or it holds no names.
    """
    for name in _NAMES_FILES:
        path = root / name
        if path.is_file():
            listed = _names_in_yaml(path) if path.suffix == ".yaml" else _names_in_text(path)
            if not listed:
                raise DataError(f"{path} holds no class names")
            return listed
    raise DataError(f"{root} has none of {', '.join(_NAMES_FILES)}: give the class names with --names")


def _names_in_text(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the class names in {path}: {error}") from error


def _names_in_yaml(path: Path) -> list[str]:
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise DataError(
            f"reading {path} takes PyYAML: pip install pyyaml, or give the class names with --names"
        ) from None
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = document["names"]
        return [str(names[k]) for k in range(len(names))] if isinstance(names, dict) else [str(n) for n in names]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(f"{path} has no list of class names under `names`") from error
