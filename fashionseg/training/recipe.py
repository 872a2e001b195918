"""`Recipe`: how a model is trained, as a readable TOML file.

Knows the tables of a recipe file, their defaults, overrides (`KEY=VALUE`) and how a recipe is written back.
Knows nothing about torch, Detectron2 or data: it can be parsed, changed and tested without them.

A recipe has two kinds of keys. Those of Detectron2's own config stand under `[detectron2]` in upper case, just as
Detectron2 spells them; what Detectron2 has no key for (warping, EMA, AdamW, early stopping, the semantic stage)
stands in lower case in tables of its own.
"""

from __future__ import annotations

import ast
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from fashionseg.errors import TrainingError
from fashionseg.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

METHODS = ("detectron2", "warp")
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What happens to a photo before it is learnt from.

    Attributes:
        method: "detectron2" resizes and flips as `INPUT.*` says; "warp" does everything geometric in one affine
            warp onto a canvas of fixed size (large-scale jitter, rotation, shift, flip).
        canvas_hw: height, width in pixels of the canvas ("warp"); sides are swapped for photos of the other
            orientation.
        scale: smallest and largest factor of the jitter; at 1 the photo just covers the canvas ("warp").
        rotation: largest angle in degrees, to both sides ("warp").
        flip: probability of mirroring left and right ("warp").
        brightness: largest relative change, to both sides; the same for contrast and saturation.
        contrast: see brightness.
        saturation: see brightness.
        hue: largest turn of the colour circle in degrees, to both sides.
        cutout: probability that one rectangle of the photo is painted over.
    """

    method: str = "detectron2"
    canvas_hw: tuple[int, int] = (1024, 1024)
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    cutout: float = 0.0

    def problems(self) -> list[str]:
        """What is wrong with these values, in words."""
        low, high = self.scale
        checks = [
            (self.method not in METHODS, f"method must be one of {', '.join(METHODS)}, not {self.method!r}"),
            (min(self.canvas_hw) < 32, f"canvas_hw {self.canvas_hw} is too small (32 at least)"),
            (not 0 < low <= high <= 16, f"scale {self.scale} must be low, high with 0 < low <= high"),
            (not 0 <= self.flip <= 1, f"flip {self.flip} is no probability"),
            (not 0 <= self.cutout <= 1, f"cutout {self.cutout} is no probability"),
            (max(self.brightness, self.contrast, self.saturation) >= 1, "colour changes must be below 1"),
        ]
        return [f"augmentation.{text}" for wrong, text in checks if wrong]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The optimiser; learning rate, weight decay and schedule are Detectron2's `SOLVER.*`.

    Attributes:
        name: "sgd" (Detectron2's own) or "adamw".
        backbone_factor: learning rate of the backbone relative to the rest ("adamw").
    """

    name: str = "sgd"
    backbone_factor: float = 1.0

    def problems(self) -> list[str]:
        """What is wrong with these values, in words."""
        if self.name not in OPTIMIZERS:
            return [f"optimizer.name must be one of {', '.join(OPTIMIZERS)}, not {self.name!r}"]
        return [] if self.backbone_factor >= 0 else ["optimizer.backbone_factor must not be negative"]


@dataclass(frozen=True, slots=True)
class Ema:
    """Exponential moving average of the weights.

    Attributes:
        decay: 0 switches it off; 0.999 averages over about the last thousand steps.
    """

    decay: float = 0.0

    def problems(self) -> list[str]:
        """What is wrong with these values, in words."""
        return [] if 0 <= self.decay < 1 else [f"ema.decay must be in 0..1, not {self.decay}"]


@dataclass(frozen=True, slots=True)
class Validation:
    """Choice among checkpoints by the validation set; how often it is measured is Detectron2's `TEST.EVAL_PERIOD`.

    Attributes:
        metric: the figure that decides: bbox/ or segm/, then AP, AP50 or AP75, or AP or AP50 of a class ("AP-shirt").
        patience: stop after so many measurements without a better one; 0 never stops early.
    """

    metric: str = "segm/AP"
    patience: int = 0

    def problems(self) -> list[str]:
        """What is wrong with these values, in words."""
        task, _, figure = self.metric.partition("/")
        name, of_class, label = figure.partition("-")
        known = ("AP", "AP50") if of_class else ("AP", "AP50", "AP75")
        if task not in ("bbox", "segm") or name not in known or bool(of_class) != bool(label):
            return [f"validation.metric must be like segm/AP, bbox/AP50 or segm/AP-CLASS, not {self.metric!r}"]
        return [] if self.patience >= 0 else ["validation.patience must not be negative"]


@dataclass(frozen=True, slots=True)
class Semantic:
    """A stage before the detector's: backbone and FPN learn per-pixel labels.

    Photos without a label map take part with their garments alone.

    Attributes:
        steps: length of the stage; 0 leaves it out.
        photos_per_step: batch size of the stage.
        canvas_hw: as in `Augmentation`, for this stage.
        learning_rate: of AdamW, with warm-up and cosine decay.
        weight_decay: of AdamW.
        warmup: steps of warm-up.
        ema_decay: as in `Ema`, for this stage.
        labels: folder of the label maps (8-bit grey or palette PNG of class indices, named like the photo, in folders
            like the photo's), relative to the folder above the photos unless absolute.
        keep: weight of the semantic loss while the detector is trained; 0 drops it.
    """

    steps: int = 0
    photos_per_step: int = 16
    canvas_hw: tuple[int, int] = (256, 160)
    learning_rate: float = 0.001
    weight_decay: float = 0.05
    warmup: int = 100
    ema_decay: float = 0.998
    labels: str = "labels"
    keep: float = 0.0

    def problems(self) -> list[str]:
        """What is wrong with these values, in words."""
        checks = [
            (self.steps < 0 or self.photos_per_step < 1, "steps and photos_per_step must be positive"),
            (min(self.canvas_hw) < 32, f"canvas_hw {self.canvas_hw} is too small (32 at least)"),
            (self.learning_rate <= 0, "learning_rate must be positive"),
            (not 0 <= self.ema_decay < 1, f"ema_decay must be in 0..1, not {self.ema_decay}"),
            (self.keep < 0, "keep must not be negative"),
        ]
        return [f"semantic.{text}" for wrong, text in checks if wrong]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    Attributes:
        name: short name for people.
        summary: one line for people.
        base: the Detectron2 config it starts from: a model-zoo name, or "" for Detectron2's defaults.
        weights: starting weights unless `--weights` says otherwise (see `weights.locate`).
        channels_last: memory layout of convolutions; faster with mixed precision.
        keep_checkpoints: how many periodic checkpoints stay on disk; 0 keeps all.
        detectron2: Detectron2 config keys, nested as in TOML, in upper case.
        augmentation: see `Augmentation`.
        optimizer: see `Optimizer`.
        ema: see `Ema`.
        validation: see `Validation`.
        semantic: see `Semantic`.

    Raises:
        TrainingError: a value makes no sense.
    """

    name: str
    summary: str = ""
    base: str = ""
    weights: str = "none"
    channels_last: bool = False
    keep_checkpoints: int = 3
    detectron2: dict[str, Any] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: Optimizer = field(default_factory=Optimizer)
    ema: Ema = field(default_factory=Ema)
    validation: Validation = field(default_factory=Validation)
    semantic: Semantic = field(default_factory=Semantic)

    def __post_init__(self) -> None:
        tables = (self.augmentation, self.optimizer, self.ema, self.validation, self.semantic)
        problems = [text for table in tables for text in table.problems()]
        if self.keep_checkpoints < 0:
            problems.append("keep_checkpoints must not be negative")
        if problems:
            raise TrainingError(f"recipe {self.name}: {'; '.join(problems)}")

    def detectron2_keys(self) -> dict[str, Any]:
        """Detectron2 config keys, flat: {"SOLVER.BASE_LR": 0.001}."""
        return dict(_flattened(self.detectron2))

    def to_toml(self) -> str:
        """The recipe as the text of a TOML file that `read_recipe` reads back equal."""
        values = asdict(self)
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        keys = {"detectron2": self.detectron2_keys()}
        tables = {key: value for key, value in values.items() if isinstance(value, dict) and key != "detectron2"}
        lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
        for title, table in {**keys, **tables}.items():
            lines += ["", f"[{title}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def recipe_names() -> list[str]:
    """Names of the recipes that come with fashionseg."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def read_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by name or from a TOML file.

    Raises:
        TrainingError: no such recipe, not TOML, an unknown key, or a value of the wrong kind.
    """
    text, where = _source(str(name_or_path))
    try:
        values = parse_toml(text)
    except ValueError as error:
        raise TrainingError(f"{where} is not a TOML file: {error}") from error
    values.setdefault("name", Path(where).stem)
    recipe: Recipe = _built(Recipe, values, where)
    return recipe


def with_overrides(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """The recipe with `KEY=VALUE` assignments: upper-case keys are Detectron2's, lower-case ones the recipe's.

    Raises:
        TrainingError: not an assignment, an unknown key, or a value of the wrong kind.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise TrainingError(f"--set takes KEY=VALUE, such as SOLVER.BASE_LR=0.002, not {assignment!r}")
        path = ["detectron2", *path] if path[0].isupper() else path
        recipe = _assigned(recipe, path, _value(text.strip()), f"--set {assignment}")
    return recipe


def _folder() -> Path:
    return Path(str(resources.files("fashionseg.training") / "recipes"))


def _source(name: str) -> tuple[str, str]:
    """Text and file name of a recipe given by name or path."""
    path = _folder() / f"{name}.toml" if name in recipe_names() else Path(name)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError:
        raise TrainingError(
            f"no recipe {name!r}: give the path of a TOML file or one of {', '.join(recipe_names())}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read the recipe {path}: {error}") from error


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _built(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a TOML table, with unknown keys and wrong kinds refused by name."""
    hints = get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise TrainingError(f"{where}: unknown key {unknown[0]!r}; known keys: {', '.join(hints)}")
    return kind(**{key: _converted(hints[key], value, key, where) for key, value in values.items()})


def _converted(hint: Any, value: Any, key: str, where: str) -> Any:
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise TrainingError(f"{where}: {key} is a number of more than 64 bits")
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _built(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if hint in (str, int, float, bool):
        good = type(value) is hint
    elif hint == tuple[int, int]:
        good = isinstance(value, list | tuple) and [type(x) for x in value] == [int, int]
        value = tuple(value) if good else value
    elif hint == tuple[float, float]:
        good = isinstance(value, list | tuple) and len(value) == 2 and all(type(x) in (int, float) for x in value)
        value = tuple(float(x) for x in value) if good else value
    else:
        good = isinstance(value, dict)
    if not good:
        raise TrainingError(f"{where}: {key} must be {_kind_name(hint)}, not {value!r}")
    return value


def _kind_name(hint: Any) -> str:
    names: dict[Any, str] = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        tuple[int, int]: "two whole numbers",
        tuple[float, float]: "two numbers",
    }
    return names.get(hint, "a table")


def _assigned(record: Any, path: list[str], value: Any, where: str) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(record, dict):
        below = record.get(head, {})
        if rest and not isinstance(below, dict):
            raise TrainingError(f"{where}: {head} is not a table")
        return {**record, head: _assigned(below, rest, value, where) if rest else value}
    known = {f.name for f in fields(record)}
    if head not in known:
        raise TrainingError(f"{where}: unknown key {head!r}; known keys: {', '.join(sorted(known))}")
    if rest:
        below = getattr(record, head)
        if not isinstance(below, dict) and not is_dataclass(below):
            raise TrainingError(f"{where}: {head} is not a table")
        return replace(record, **{head: _assigned(below, rest, value, where)})
    return replace(record, **{head: _converted(get_type_hints(type(record))[head], value, head, where)})


def _value(text: str) -> Any:
    """A value as TOML or Python spells it; anything else is text."""
    try:
        return parse_toml(f"v = {text}")["v"]
    except ValueError:  # no TOML: it may be Python's spelling, such as a tuple
        pass
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # deep nesting is a MemoryError there
        return text
    return list(value) if isinstance(value, tuple) else value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(x) for x in value)}]"
    return repr(value)
