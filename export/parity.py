"""The proof after an export: the ONNX file and Detectron2 see the same pixels and must say the same.

The file is run as users will run it, by the ONNX Runtime backend. Detectron2's side is `model.inference` without
postprocessing. Knows pictures, batches and verdicts; how detections are compared is in `matching.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from fashionseg.backends.onnxrt import OnnxRuntimeBackend
from fashionseg.detections import Detections
from fashionseg.errors import ExportError, QualityError
from fashionseg.export.matching import Agreement, Tolerance, agreement
from fashionseg.inference import detections_of
from fashionseg.preprocess import make_batch, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from fashionseg.backends import Backend
    from fashionseg.model import ModelFile

THRESHOLD_NAME = "model.detector.score_threshold"
"""The constant of the graph that holds the score threshold."""

ENOUGH = 20
"""Detections that make a proof. Where pictures yield fewer, the same is asked again without a score threshold."""

BATCH = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the proof.

    Attributes:
        name: what was run, in words.
        pictures: how many.
        agreement: how the two sides agree.
        inexact: pictures whose non-maximum suppression did not settle.
    """

    name: str
    pictures: int
    agreement: Agreement
    inexact: int


@dataclass(frozen=True, slots=True)
class Proof:
    """All checks of a file, and the tolerance they were judged by."""

    checks: tuple[Check, ...]
    tolerance: Tolerance

    @property
    def detections(self) -> int:
        """Detections of Detectron2 that were compared."""
        return sum(check.agreement.wanted for check in self.checks)

    def failures(self) -> list[str]:
        """What is wrong, in words; empty where the file is proven."""
        if self.detections == 0:
            return ["Detectron2 found nothing in the pictures, which proves nothing; name others with --check"]
        return [_verdict(check, self.tolerance) for check in self.checks if not check.agreement.within(self.tolerance)]


def _verdict(check: Check, tolerance: Tolerance) -> str:
    result = check.agreement
    if result.mask > tolerance.mask:
        return f"{check.name}: a mask differs by {result.mask:.3g} (tolerance {tolerance.mask:g})"
    return (
        f"{check.name}: {result.matched} of {max(result.wanted, result.found)} detections match within "
        f"{tolerance.box:g} px and {tolerance.score:g}"
    )


def prove(
    model: Any,
    file: ModelFile,
    pictures: Sequence[NDArray[np.uint8]],
    where: Path,
    tolerance: Tolerance | None = None,
) -> Proof:
    """Compare a model file with the Detectron2 model it was made from.

    Args:
        model: Detectron2's `GeneralizedRCNN` in evaluation mode.
        file: the model file.
        pictures: uint8 [H, W, 3], BGR, of any sizes; at least one.
        where: the file's final name, for messages.
        tolerance: default `Tolerance()`.

    Raises:
        QualityError: they differ by more than the tolerance, or there was nothing to compare.
    """
    prepared = [prepare(picture, file.spec) for picture in pictures]
    checks = list(compare(model, file, prepared, tolerance or Tolerance()))
    if sum(check.agreement.wanted for check in checks) < ENOUGH:
        open_file = without_threshold(file)
        threshold = model.roi_heads.box_predictor.test_score_thresh
        model.roi_heads.box_predictor.test_score_thresh = 0.0
        try:
            checks += compare(model, open_file, prepared, tolerance or Tolerance(), ", any score")
        finally:
            model.roi_heads.box_predictor.test_score_thresh = threshold
    proof = Proof(tuple(checks), tolerance or Tolerance())
    failures = proof.failures()
    if failures:
        raise QualityError(f"{where} was not written: ONNX and Detectron2 disagree ({'; '.join(failures)})")
    return proof


def compare(
    model: Any, file: ModelFile, pictures: list[NDArray[np.uint8]], tolerance: Tolerance, suffix: str = ""
) -> Iterator[Check]:
    """Run both sides, picture by picture and in batches of pictures of different sizes.

    Args:
        model: Detectron2's `GeneralizedRCNN` in evaluation mode.
        file: the model file.
        pictures: uint8 [h, w, 3], BGR, resized by the rule of the file.
        tolerance: what makes a pair.
        suffix: added to the names of the checks.
    """
    groups = {
        "one by one": [[picture] for picture in pictures],
        "mixed batches": [
            [*pictures[i : i + BATCH - 1], dark(pictures[i])] for i in range(0, len(pictures), BATCH - 1)
        ],
    }
    with OnnxRuntimeBackend.on_cpu(file) as backend:
        for name, batches in groups.items():
            total, inexact = Agreement(), 0
            for batch in batches:
                found, exact = run_onnx(backend, batch)
                total += agreement(
                    run_detectron2(model, batch),
                    found,
                    tolerance,
                    score_threshold=file.spec.score_threshold,
                    max_detections=file.spec.max_detections,
                )
                inexact += int((exact == 0).sum())
            yield Check(name + suffix, sum(map(len, batches)), total, inexact)


def dark(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An empty picture of two thirds of the size: a dark room, with a camera's noise.

    Strong noise, so that no two places look alike: where scores tie, the order of non-maximum suppression is
    undefined, in Detectron2, too, and a comparison would prove nothing.
    """
    height, width = max(1, picture.shape[0] * 2 // 3), max(1, picture.shape[1] * 2 // 3)
    return np.random.default_rng(0).integers(0, 64, (height, width, 3), np.uint8)


def run_onnx(backend: Backend, pictures: list[NDArray[np.uint8]]) -> tuple[list[Detections], NDArray[np.int32]]:
    """Detections of a batch of resized pictures (uint8 [h, w, 3], BGR), and int32 [N], 0 where NMS did not settle."""
    images, sizes = make_batch(pictures, backend.spec.size_divisor)
    raw = backend.run(images, sizes)
    found = [detections_of(raw, row, (int(h), int(w))) for row, (h, w) in enumerate(sizes)]
    return found, raw.nms_exact


def run_detectron2(model: Any, pictures: list[NDArray[np.uint8]]) -> list[Detections]:
    """Detections of Detectron2's own inference of the same batch."""
    import torch

    flipped = [picture[:, :, ::-1] if model.input_format == "RGB" else picture for picture in pictures]
    inputs = [{"image": torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))} for picture in flipped]
    with torch.no_grad():
        results = model.inference(inputs, do_postprocess=False)
    return [
        Detections(
            result.pred_boxes.tensor.numpy(),
            result.scores.numpy(),
            result.pred_classes.numpy().astype(np.int32),
            result.pred_masks.numpy()[:, 0],
            picture.shape[:2],
        )
        for result, picture in zip(results, pictures, strict=True)
    ]


def without_threshold(file: ModelFile) -> ModelFile:
    """The same model with a score threshold of 0, in memory alone: everything it computes comes out."""
    from dataclasses import replace

    from fashionseg.model import parse_onnx

    proto = parse_onnx(file.data, str(file.path))
    _set_constant(proto, THRESHOLD_NAME, 0.0)
    return replace(file, data=proto.SerializeToString(), spec=replace(file.spec, score_threshold=0.0))


def _set_constant(proto: onnx.ModelProto, name: str, value: float) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.array([value], np.float32), name))
            return
    raise ExportError(f"the graph has no constant {name}")


def built_in_pictures() -> list[NDArray[np.uint8]]:
    """Three drawn pictures of dressed people, upright, lying and square: uint8 [H, W, 3], BGR."""
    from fashionseg.data.synth.scene import draw_scene

    rng = np.random.default_rng(7)
    return [
        draw_scene(rng, size_hw, people=people).image
        for size_hw, people in (((640, 480), 1), ((480, 720), 3), ((560, 560), 2))
    ]
