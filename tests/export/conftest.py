"""Fixtures for tests of the export: model files of each precision, and NVIDIA's importer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fashionseg.model import ModelFile, parse_onnx, read_model

PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="session")
def tensorrt_rtx():
    """The module, whose importer and ahead-of-time builder need no GPU; skipped where it is not installed."""
    return pytest.importorskip(
        "tensorrt_rtx",
        reason="TensorRT-RTX is not installed (pip install 'fashionseg[tensorrt-rtx]')",
        exc_type=ImportError,
    )


def lowered(model: ModelFile, precision: str) -> ModelFile:
    """A model file in some precision, unproven; int8 is calibrated on a drawn picture."""
    from fashionseg.export.parity import built_in_pictures
    from fashionseg.export.precision_fp16 import to_float16
    from fashionseg.export.precision_int8 import to_int8
    from fashionseg.export.write import as_model_file
    from fashionseg.preprocess import make_batch, prepare

    if precision == "fp32":
        return model
    proto = parse_onnx(model.data, str(model.path))
    if precision == "fp16":
        made = to_float16(proto)
    else:
        picture = prepare(built_in_pictures()[0], model.spec)
        made = to_int8(proto, [make_batch([picture], model.spec.size_divisor)])
    spec = replace(model.spec, precision=precision, weights=precision)
    return as_model_file(made, spec, Path(f"{model.path.stem}-{precision}.onnx"))


@pytest.fixture(scope="session")
def embedded():
    """The embedded model by precision: a dict of model files."""
    model = read_model()
    return {precision: lowered(model, precision) for precision in PRECISIONS}


@pytest.fixture(scope="session")
def r50_fpn():
    """Detectron2's R50-FPN Mask R-CNN with random weights, by precision; small pictures, to be quick."""
    pytest.importorskip("detectron2")
    import torch
    from detectron2.modeling import build_model

    from fashionseg.benchmarks.random_rcnn import r50_fpn_config
    from fashionseg.export.checkpoint import Checkpoint
    from fashionseg.export.classes import Classes
    from fashionseg.export.exporter import ExportOptions, build
    from fashionseg.export.write import as_model_file

    torch.manual_seed(0)
    cfg = r50_fpn_config(5, 20)
    cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MAX_SIZE_TEST = 128
    classes = Classes(tuple("abcde"), (1, 2, 3, 4, 5))
    opened = Checkpoint(Path("r50.pth"), "", build_model(cfg).eval(), cfg, classes, {})
    model = as_model_file(*build(opened, ExportOptions()), Path("r50.onnx"))
    return {precision: lowered(model, precision) for precision in PRECISIONS}
