"""A checkpoint: Detectron2's own inference, and the same AP from the model file made of it."""

import numpy as np
import pytest
import stubs

from fashionseg.data.coco import read_coco
from fashionseg.errors import DeviceError, ExportError, ModelError
from fashionseg.evaluation.photos import photo_paths

pytestmark = pytest.mark.detectron2
AP_TOLERANCE = 0.0005  # 0.05 points


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny Mask R-CNN with random weights that finds things, for the two classes of `photo_set`."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("detectron2")
    from fashionseg.benchmarks.random_rcnn import r50_fpn_config, random_mask_rcnn

    config = r50_fpn_config(classes=2, detections=8)
    config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST = 96, 128
    config.MODEL.RESNETS.STEM_OUT_CHANNELS, config.MODEL.RESNETS.RES2_OUT_CHANNELS = 8, 16
    config.MODEL.RESNETS.WIDTH_PER_GROUP, config.MODEL.FPN.OUT_CHANNELS = 8, 16
    config.MODEL.ROI_BOX_HEAD.FC_DIM, config.MODEL.ROI_MASK_HEAD.CONV_DIM = 32, 16
    config.MODEL.ROI_MASK_HEAD.NUM_CONV = 1
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.05
    folder = tmp_path_factory.mktemp("checkpoint")
    network = random_mask_rcnn(config, stubs.picture((120, 96)), 6)
    torch.save({"model": network.state_dict()}, folder / "model.pth")
    (folder / "config.yaml").write_text(config.dump())
    return folder / "model.pth"


def predict(checkpoint, photo_set, **options):
    from fashionseg.evaluation.reference import open_detector, run_detector
    from fashionseg.export.classes import Classes

    data = read_coco(photo_set)
    options = {"classes": Classes(data.class_names, data.category_ids)} | options
    detector = open_detector(checkpoint, **{"device": "cpu", **options})
    return data, run_detector(detector, data, photo_paths(data))


def test_equals_detectron2(checkpoint, photo_set):
    """`DefaultPredictor` and `instances_to_coco_json`, number by number."""
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor
    from detectron2.evaluation.coco_evaluation import instances_to_coco_json

    config = get_cfg()
    config.merge_from_file(str(checkpoint.with_name("config.yaml")))
    config.MODEL.WEIGHTS = str(checkpoint)
    predictor = DefaultPredictor(config)
    data, run = predict(checkpoint, photo_set)
    expected = []
    for image, path in zip(data.images, photo_paths(data), strict=True):
        import cv2

        expected += instances_to_coco_json(predictor(cv2.imread(str(path)))["instances"], image.id)
    found = run.predictions.to_results()
    assert len(found) == len(expected) > 5
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["image_id"] == theirs["image_id"]
        assert ours["category_id"] == data.category_ids[theirs["category_id"]]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-6)
        assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=1e-4)
        assert ours["segmentation"] == theirs["segmentation"]


def test_class_names_come_from_the_checkpoint(checkpoint, photo_set):
    import torch

    content = torch.load(checkpoint, weights_only=True)
    named = checkpoint.with_name("named.pth")
    torch.save({**content, "class_names": ["shirt", "trousers"]}, named)
    _, plain = predict(checkpoint, photo_set)
    _, swapped = predict(named, photo_set, classes=None)
    other = {10: 20, 20: 10}
    assert [other[i] for i in plain.predictions.category_ids.tolist()] == swapped.predictions.category_ids.tolist()


def test_a_config_that_cuts_scores_is_warned_about(checkpoint, photo_set):
    from fashionseg.evaluation import EvaluateOptions, evaluate
    from fashionseg.export.classes import Classes

    config = checkpoint.with_name("cut.yaml")
    whole = checkpoint.with_name("config.yaml").read_text()
    config.write_text(whole.replace("SCORE_THRESH_TEST: 0.05", "SCORE_THRESH_TEST: 0.7"))
    data = read_coco(photo_set)
    options = {"classes": Classes(data.class_names, data.category_ids), "device": "cpu"}
    found = evaluate(EvaluateOptions(checkpoint, photo_set, config=str(config), **options))
    assert any("model.pth drops scores below 0.7" in text for text in found.warnings)
    assert not evaluate(EvaluateOptions(checkpoint, photo_set, **options)).warnings


def test_nobody_names_the_classes(checkpoint, photo_set):
    with pytest.raises(ExportError, match=r"names? the 2 classes of .*--classes"):
        predict(checkpoint, photo_set, classes=None)


def test_another_number_of_classes(checkpoint, photo_set):
    from fashionseg.export.classes import Classes

    with pytest.raises(ExportError, match=r"names 3 classes .* has 2"):
        predict(checkpoint, photo_set, classes=Classes(("shirt", "trousers", "shorts"), (1, 2, 3)))


def test_no_config(checkpoint, photo_set, tmp_path):
    alone = tmp_path / "alone.pth"
    alone.write_bytes(checkpoint.read_bytes())
    with pytest.raises(ExportError, match=r"no config\.yaml beside .* --config-file"):
        predict(alone, photo_set)


def test_weights_of_another_model(checkpoint, photo_set):
    import torch

    content = torch.load(checkpoint, weights_only=True)["model"]
    del content["roi_heads.mask_head.predictor.weight"]
    path = checkpoint.with_name("other.pth")
    torch.save({"model": content}, path)
    with pytest.raises(ExportError, match=r"no weights for roi_heads\.mask_head\.predictor\.weight"):
        predict(path, photo_set)


@pytest.mark.parametrize("device", ["trt", "cuda:99"])
def test_device_that_cannot_run_it(checkpoint, photo_set, device):
    with pytest.raises(DeviceError):
        predict(checkpoint, photo_set, device=device)


def test_not_there(photo_set, tmp_path):
    pytest.importorskip("detectron2")
    with pytest.raises(ModelError, match="checkpoint not found"):
        predict(tmp_path / "none.pth", photo_set)


def test_embedded_model_and_its_checkpoint_have_the_same_ap(real_data):
    """The embedded ONNX file against the weights it was made from, on a few real photos."""
    pytest.importorskip("detectron2")
    from fashionseg.backends.registry import open_backend
    from fashionseg.evaluation.metrics import measure
    from fashionseg.evaluation.reference import open_detector, run_detector
    from fashionseg.evaluation.runtime import run_model
    from fashionseg.model import default_model_path, read_model

    weights = default_model_path().with_suffix(".pth")
    if not weights.is_file():
        pytest.skip("the weights of the embedded model are not installed")
    data = read_coco(real_data / "ccp" / "val.json")
    data = data.subset([image.id for image in data.images[:8]])
    photos = photo_paths(data)
    with open_backend(read_model(), "cpu") as backend:
        exported = run_model(backend, data, photos, "default.onnx").predictions
    detector = open_detector(weights, str(weights.with_suffix(".yaml")), device="cpu")
    reference = run_detector(detector, data, photos).predictions
    ours, theirs = (measure(data, one, with_intervals=False)[0].flat() for one in (exported, reference))
    apart = {name: abs(ours[name] - theirs[name]) for name in ("bbox/AP", "segm/AP", "bbox/AP50", "segm/AP50")}
    assert max(apart.values()) <= AP_TOLERANCE, apart
    assert np.isclose(ours["segm/AP"], theirs["segm/AP"], atol=AP_TOLERANCE)
