"""The traced ONNX file against Detectron2's own inference, over kinds of models."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("detectron2")

import tiny_rcnn
import torch

from fashionseg.detections import Detections
from fashionseg.errors import QualityError
from fashionseg.export.checkpoint import Checkpoint
from fashionseg.export.classes import Classes
from fashionseg.export.exporter import ExportOptions, build
from fashionseg.export.parity import dark, prove, run_detectron2, run_onnx, without_threshold
from fashionseg.export.rules import violations
from fashionseg.model import read_model

pytestmark = pytest.mark.detectron2

VARIANTS = {
    "adaptive sampling, as in the model zoo": {},
    "two samples, narrow levels, offset anchors": {
        "MODEL__ROI_BOX_HEAD__POOLER_SAMPLING_RATIO": 2,
        "MODEL__ROI_MASK_HEAD__POOLER_SAMPLING_RATIO": 2,
        "MODEL__RPN__IN_FEATURES": ["p3", "p4", "p5"],
        "MODEL__ROI_HEADS__IN_FEATURES": ["p2", "p3", "p4"],
        "MODEL__ANCHOR_GENERATOR__SIZES": [[16, 24], [32, 48], [64, 96]],
        "MODEL__ANCHOR_GENERATOR__OFFSET": 0.5,
        "MODEL__PROPOSAL_GENERATOR__MIN_SIZE": 8,
    },
    "RGB, class-agnostic, averaging FPN": {
        "INPUT__FORMAT": "RGB",
        "MODEL__PIXEL_MEAN": [123.7, 116.3, 103.5],
        "MODEL__PIXEL_STD": [58.4, 57.1, 57.4],
        "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True,
        "MODEL__ROI_MASK_HEAD__CLS_AGNOSTIC_MASK": True,
        "MODEL__FPN__FUSE_TYPE": "avg",
    },
    "group norm, convolutions in the box head, larger poolers": {
        "MODEL__RESNETS__NORM": "GN",
        "MODEL__RESNETS__STEM_OUT_CHANNELS": 32,
        "MODEL__RESNETS__WIDTH_PER_GROUP": 32,
        "MODEL__RESNETS__RES2_OUT_CHANNELS": 32,
        "MODEL__FPN__NORM": "GN",
        "MODEL__FPN__OUT_CHANNELS": 32,
        "MODEL__ROI_BOX_HEAD__NORM": "GN",
        "MODEL__ROI_BOX_HEAD__NUM_CONV": 1,
        "MODEL__ROI_BOX_HEAD__CONV_DIM": 32,
        "MODEL__ROI_BOX_HEAD__POOLER_RESOLUTION": 9,
        "MODEL__ROI_MASK_HEAD__POOLER_RESOLUTION": 10,
    },
    "independent classes, one level": {
        "MODEL__ROI_BOX_HEAD__USE_SIGMOID_CE": True,
        "MODEL__ROI_HEADS__IN_FEATURES": ["p3"],
        "MODEL__RPN__CONV_DIMS": [16, 16],
    },
}


def opened(model, cfg):
    """A `Checkpoint` that never was a file."""
    classes = Classes(tuple(f"class {i}" for i in range(tiny_rcnn.CLASSES)), tuple(range(1, tiny_rcnn.CLASSES + 1)))
    return Checkpoint(Path("tiny.pth"), "", model, cfg, classes, {})


def exported(model, cfg, folder, **options):
    """The model file of a model."""
    proto, _ = build(opened(model, cfg), ExportOptions(**options))
    assert violations(proto) == []
    path = folder / "tiny.onnx"
    path.write_bytes(proto.SerializeToString())
    return read_model(path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model of the first variant, and its file."""
    cfg = tiny_rcnn.config()
    model = tiny_rcnn.model(cfg)
    return model, exported(model, cfg, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_file_says_what_detectron2_says(changes, tmp_path):
    cfg = tiny_rcnn.config(**changes)
    model = tiny_rcnn.model(cfg)
    proof = prove(model, exported(model, cfg, tmp_path), tiny_rcnn.pictures(), Path("tiny.onnx"))
    assert proof.detections >= 20, proof
    for check in proof.checks:
        assert check.agreement.box < 0.02, check
        assert check.inexact == 0, check


def test_float16_weights_are_those_of_the_checkpoint_rounded(tmp_path, plain):
    cfg = tiny_rcnn.config()
    model = tiny_rcnn.model(cfg)
    file = exported(model, cfg, tmp_path, weights="fp16")
    weight = model.backbone.bottom_up.stem.conv1.weight
    assert torch.equal(weight, weight.half().float())
    assert file.spec.weights == "fp16" and len(file.data) < 0.62 * len(plain[1].data)
    assert prove(model, file, tiny_rcnn.pictures(), Path("tiny.onnx")).detections >= 20


def test_fewer_detections_are_the_best_ones(tmp_path, plain):
    cfg = tiny_rcnn.config()
    model = tiny_rcnn.model(cfg)
    file = exported(model, cfg, tmp_path, max_detections=3)
    assert file.spec.max_detections == 3
    assert prove(model, file, tiny_rcnn.pictures(), Path("tiny.onnx")).detections >= 6


def test_more_detections_than_the_config_allows(tmp_path):
    cfg = tiny_rcnn.config()
    model = tiny_rcnn.model(cfg)
    file = exported(model, cfg, tmp_path, max_detections=40)
    assert file.spec.max_detections == 40
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    proof = prove(model, without_threshold(file), tiny_rcnn.pictures(), Path("tiny.onnx"))
    assert proof.detections > 20 * sum(check.pictures for check in proof.checks), proof


def test_pictures_of_one_size_share_a_batch_without_a_trace(plain):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    picture = tiny_rcnn.pictures()[0]
    batch = [picture, picture[::-1].copy(), picture[:, ::-1].copy()]
    with OnnxRuntimeBackend.on_cpu(plain[1]) as backend:
        together, _ = run_onnx(backend, batch)
        alone = [run_onnx(backend, [one])[0][0] for one in batch]
    for one, other in zip(together, alone, strict=True):
        assert len(one) == len(other) > 0
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_a_dark_picture_is_empty_and_its_rows_are_zero(plain):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend
    from fashionseg.preprocess import make_batch

    model, file = plain
    quiet = dark(tiny_rcnn.pictures()[0])
    images, sizes = make_batch([tiny_rcnn.pictures()[0], quiet], file.spec.size_divisor)
    with OnnxRuntimeBackend.on_cpu(file) as backend:
        raw = backend.run(images, sizes)
    assert len(run_detectron2(model, [tiny_rcnn.pictures()[0], quiet])[1]) == raw.num_detections[1]
    for row, count in enumerate(raw.num_detections):
        for array in (raw.boxes, raw.scores, raw.labels, raw.masks):
            assert not array[row, count:].any()
        assert (np.diff(raw.scores[row, :count]) <= 0).all()


def test_the_smallest_picture_works(plain):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    model, file = plain
    speck = tiny_rcnn.pictures()[0][:7, :5]
    with OnnxRuntimeBackend.on_cpu(file) as backend:
        found, exact = run_onnx(backend, [speck])
    assert len(found[0]) == len(run_detectron2(model, [speck])[0])
    assert exact[0] == 1


def test_too_little_to_compare_is_asked_again_without_threshold(tmp_path):
    cfg = tiny_rcnn.config(MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.999)
    model = tiny_rcnn.model(tiny_rcnn.config())
    model.roi_heads.box_predictor.test_score_thresh = 0.999
    proof = prove(model, exported(model, cfg, tmp_path), tiny_rcnn.pictures()[:1], Path("tiny.onnx"))
    assert len(proof.checks) == 4 and proof.detections >= 20, proof
    assert model.roi_heads.box_predictor.test_score_thresh == 0.999


def test_another_model_is_not_proven(plain):
    file = plain[1]
    stranger = tiny_rcnn.model(tiny_rcnn.config(), seed=1)
    with pytest.raises(QualityError, match="disagree"):
        prove(stranger, file, tiny_rcnn.pictures(), Path("tiny.onnx"))


def test_a_slightly_wrong_mask_is_noticed(plain):
    model, file = plain
    bias = model.roi_heads.mask_head.predictor.bias
    with torch.no_grad():
        bias += 0.5
    try:
        with pytest.raises(QualityError, match="mask differs"):
            prove(model, file, tiny_rcnn.pictures(), Path("tiny.onnx"))
    finally:
        with torch.no_grad():
            bias -= 0.5


def test_nothing_found_proves_nothing(plain, monkeypatch):
    model, file = plain
    monkeypatch.setattr("fashionseg.export.parity.run_detectron2", lambda model, batch: nothing(batch))
    monkeypatch.setattr(
        "fashionseg.export.parity.run_onnx", lambda backend, batch: (nothing(batch), np.ones(len(batch)))
    )
    with pytest.raises(QualityError, match="proves nothing"):
        prove(model, file, tiny_rcnn.pictures(), Path("tiny.onnx"))


def nothing(batch):
    return [Detections.empty(picture.shape[:2]) for picture in batch]
