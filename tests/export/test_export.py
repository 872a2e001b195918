"""`fashionseg export` from checkpoint to file: what is written, what is refused, and that nothing is left behind."""

import json
import pickle
import sys

import numpy as np
import pytest

from fashionseg.cli.main import run
from fashionseg.errors import CheckpointError, ExportError, MissingExtraError


def test_without_detectron2_the_command_to_install_it_is_named(tmp_path, monkeypatch):
    from fashionseg.export.exporter import export_checkpoint

    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(MissingExtraError, match=r"pip install --no-build-isolation 'fashionseg\[train\]'"):
        export_checkpoint(tmp_path / "model.pth", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--classes", "shirt:x"], "is not a class"),
        (["--metric", "segm/AP"], "NAME=POINTS"),
        (["--weights", "int4"], "int4"),
        (["--max-detections", "0"], "--max-detections"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path, capsys, options, complaint):
    assert run(["export", str(tmp_path / "model.pth"), *options]) == 2
    assert complaint in capsys.readouterr().err


def test_a_photo_to_check_with_that_is_missing(tmp_path, capsys):
    assert run(["export", str(tmp_path / "model.pth"), "--check", str(tmp_path / "none.jpg")]) == 1
    assert "none.jpg" in capsys.readouterr().err


detectron2 = pytest.mark.detectron2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint as a training run leaves it: weights with class names, config and metadata beside them."""
    pytest.importorskip("detectron2")
    import tiny_rcnn
    import torch

    folder = tmp_path_factory.mktemp("run")
    cfg = tiny_rcnn.config()
    model = tiny_rcnn.model(cfg)
    names = ["hat", "scarf", "glove", "boot", "belt"]
    content = {"model": model.state_dict(), "class_names": names, "category_ids": [3, 1, 4, 15, 9]}
    torch.save(content, folder / "model_final.pth")
    (folder / "config.yaml").write_text(cfg.dump())
    (folder / "metadata.json").write_text(
        json.dumps(
            {
                "dataset": "drawn",
                "metrics": {"segm/AP": 12.5, "segm/APl": float("nan"), "best": None},
                "metrics_of": "model_final.pth",
            }
        )
    )
    return folder / "model_final.pth"


def test_figures_are_those_of_the_exported_checkpoint():
    from fashionseg.export.exporter import _metrics

    written = {"metrics": {"segm/AP": 12.5}, "metrics_of": "model_best.pth"}
    assert _metrics(written, "model_best.pth") == {"segm/AP": 12.5}
    assert _metrics(written, "model_final.pth") == {}
    assert _metrics({"metrics": {"segm/AP": 12.5}}, "model_best.pth") == {}


@detectron2
def test_a_checkpoint_becomes_a_file_that_says_everything(trained, tmp_path, capsys, monkeypatch):
    from fashionseg.model import read_model

    monkeypatch.chdir(tmp_path)
    options = ["--name", "tiny", "--licence", "CC0-1.0", "--metric", "bbox/AP=20", "--weights", "fp16", "--json"]
    assert run(["export", str(trained), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [path.name for path in tmp_path.iterdir()] == ["model_final.onnx"]
    spec = read_model("model_final.onnx").spec
    assert spec.class_names == ("hat", "scarf", "glove", "boot", "belt")
    assert spec.category_ids == (3, 1, 4, 15, 9)
    assert (spec.name, spec.licence, spec.dataset, spec.weights) == ("tiny", "CC0-1.0", "drawn", "fp16")
    assert spec.metrics == {"segm/AP": 12.5, "bbox/AP": 20.0}
    assert (spec.min_size, spec.max_size, spec.max_detections, spec.mask_side) == (128, 224, 20, 28)
    assert "GeneralizedRCNN" in spec.config and len(spec.checkpoint_sha256) == 64
    checks = printed["checks"]
    assert sum(check["agreement"]["wanted"] for check in checks) >= 20
    assert all(check["agreement"]["matched"] == check["agreement"]["wanted"] for check in checks)


@detectron2
def test_photos_to_check_with_and_the_table(trained, tmp_path, capsys):
    import cv2
    import tiny_rcnn

    for number, picture in enumerate(tiny_rcnn.pictures()):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    output = tmp_path / "out.onnx"
    assert run(["export", str(trained), "-o", str(output), "--check", str(tmp_path), "--max-detections", "5"]) == 0
    text = capsys.readouterr().err
    assert "one by one" in text and "tolerance" in text and "out.onnx" in text
    assert "Warning" not in text


@detectron2
def test_a_file_that_differs_is_not_left_behind(trained, tmp_path, capsys, monkeypatch):
    from fashionseg.export.graph import Masks

    forward = Masks.forward
    monkeypatch.setattr(Masks, "forward", lambda self, *inputs: forward(self, *inputs) * 0.9)
    output = tmp_path / "model.onnx"
    output.write_bytes(b"an older file")
    assert run(["export", str(trained), "-o", str(output), "--quiet"]) == 4
    assert "model.onnx was not written: ONNX and Detectron2 disagree" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert output.read_bytes() == b"an older file"


@detectron2
def test_a_graph_that_breaks_the_rules_is_not_written(trained, tmp_path, capsys, monkeypatch):
    from fashionseg.export.boxes import torch
    from fashionseg.export.graph import BatchedRCNN

    forward = BatchedRCNN.forward

    def selecting(self, images, image_sizes):
        result = forward(self, images, image_sizes)
        result["scores"] = result["scores"] + 0 * torch.nonzero(result["scores"] > -1)[:, 0].sum()
        return result

    monkeypatch.setattr(BatchedRCNN, "forward", selecting)
    assert run(["export", str(trained), "-o", str(tmp_path / "model.onnx"), "--quiet"]) == 1
    assert "(NonZero): this operator is not allowed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def changed_config(trained, folder, **changes):
    import tiny_rcnn

    path = folder / "changed.yaml"
    path.write_text(tiny_rcnn.config(**changes).dump())
    return path


REFUSED = {
    "cascade heads": (
        {"MODEL__ROI_HEADS__NAME": "CascadeROIHeads", "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True},
        "its ROI head is CascadeROIHeads",
    ),
    "deformable convolutions": ({"MODEL__RESNETS__DEFORM_ON_PER_STAGE": [False, True, False, False]}, "deformable"),
    "no masks": ({"MODEL__MASK_ON": False}, "no mask head"),
    "key points": ({"MODEL__KEYPOINT_ON": True}, "key points"),
    "rotated boxes": (
        {
            "MODEL__PROPOSAL_GENERATOR__NAME": "RRPN",
            "MODEL__RPN__BBOX_REG_WEIGHTS": [1.0, 1.0, 1.0, 1.0, 1.0],
            "MODEL__ANCHOR_GENERATOR__NAME": "RotatedAnchorGenerator",
        },
        "its proposal generator is RRPN",
    ),
    "legacy pooling": ({"MODEL__ROI_BOX_HEAD__POOLER_TYPE": "ROIAlign"}, "only ROIAlignV2"),
    "RoIPool": ({"MODEL__ROI_MASK_HEAD__POOLER_TYPE": "ROIPool"}, "its mask pooler is RoIPool"),
    "RetinaNet": (
        {"MODEL__META_ARCHITECTURE": "RetinaNet", "MODEL__BACKBONE__NAME": "build_retinanet_resnet_fpn_backbone"},
        "its architecture is RetinaNet",
    ),
    "no pyramid": (
        {
            "MODEL__BACKBONE__NAME": "build_resnet_backbone",
            "MODEL__RESNETS__OUT_FEATURES": ["res4"],
            "MODEL__RPN__IN_FEATURES": ["res4"],
            "MODEL__ROI_HEADS__IN_FEATURES": ["res4"],
            "MODEL__ANCHOR_GENERATOR__SIZES": [[32]],
        },
        "its backbone is ResNet",
    ),
    "too many candidates": ({"MODEL__RPN__PRE_NMS_TOPK_TEST": 6000}, "PRE_NMS_TOPK_TEST is 6000"),
    "grey pictures": ({"INPUT__FORMAT": "L"}, "input format is L"),
}


@detectron2
@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_unsupported_models_are_refused_in_one_sentence(changes, reason):
    pytest.importorskip("detectron2")
    from pathlib import Path

    import tiny_rcnn
    from detectron2.modeling import build_model

    from fashionseg.export.support import check_supported

    model = build_model(tiny_rcnn.config(**changes))
    with pytest.raises(ExportError, match=f"model.pth cannot be exported: .*{reason}") as error:
        check_supported(model, Path("model.pth"))
    assert "\n" not in str(error.value)


@detectron2
def test_the_zoo_models_that_are_supported():
    pytest.importorskip("detectron2")
    from pathlib import Path

    from detectron2 import model_zoo
    from detectron2.modeling import build_model

    from fashionseg.export.support import check_supported

    for name in ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", "Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic"):
        cfg = model_zoo.get_config(f"{name}.yaml")
        cfg.MODEL.DEVICE = "cpu"
        check_supported(build_model(cfg), Path(name))


@detectron2
class TestOpening:
    """Checkpoints and configs that do not open."""

    def refused(self, path, match, config=None, **options):
        from fashionseg.export.checkpoint import open_checkpoint

        with pytest.raises((ExportError, CheckpointError), match=match) as error:
            open_checkpoint(path, config, **options)
        assert "\n" not in str(error.value)

    def test_missing_files(self, trained, tmp_path):
        self.refused(tmp_path / "none.pth", r"checkpoint not found: .*none\.pth")
        alone = tmp_path / "alone.pth"
        alone.write_bytes(trained.read_bytes())
        self.refused(alone, r"no config\.yaml beside .*alone\.pth: name it with --config-file")
        self.refused(alone, "no config nonsense: neither a file nor a name", config="nonsense")

    def test_a_config_of_the_checkpoints_own_name_goes_before_config_yaml(self, trained, tmp_path):
        from fashionseg.export.checkpoint import open_checkpoint

        own = tmp_path / "mine.pth"
        own.write_bytes(trained.read_bytes())
        config = trained.with_name("config.yaml").read_text()
        own.with_suffix(".yaml").write_text(config.replace("MIN_SIZE_TEST: 128", "MIN_SIZE_TEST: 96"))
        assert open_checkpoint(own).config.INPUT.MIN_SIZE_TEST == 96
        (tmp_path / "config.yaml").write_text(config)
        assert open_checkpoint(own).config.INPUT.MIN_SIZE_TEST == 96

    @pytest.mark.parametrize("data", [b"", b"PK", b"not a checkpoint", b"\x80\x02}q\x00."])
    def test_damaged_checkpoints(self, trained, tmp_path, data):
        path = tmp_path / "model.pth"
        path.write_bytes(data)
        self.refused(path, r"model\.pth (is damaged|is not a checkpoint)", str(trained.with_name("config.yaml")))

    def test_truncated(self, trained, tmp_path):
        path = tmp_path / "model.pth"
        path.write_bytes(trained.read_bytes()[:-5000])
        self.refused(path, r"model\.pth is damaged", str(trained.with_name("config.yaml")))

    def test_code_in_a_checkpoint_is_not_run(self, trained, tmp_path, monkeypatch):
        import os

        import torch

        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path}/ran",)

        torch.save({"model": {"a": torch.zeros(1)}, "more": Evil()}, tmp_path / "evil.pth")
        (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"model": {"a": np.zeros(1)}, "more": Evil()}))
        config = str(trained.with_name("config.yaml"))
        self.refused(tmp_path / "evil.pth", "use --trust", config)
        self.refused(tmp_path / "evil.pkl", "use --trust", config)
        assert not (tmp_path / "ran").exists()
        self.refused(tmp_path / "evil.pkl", "does not fit its config", config, trust=True)
        assert (tmp_path / "ran").exists()

    def test_code_in_a_config_is_not_run(self, trained, tmp_path):
        config = tmp_path / "evil.yaml"
        config.write_text(f"OUTPUT_DIR: !!python/object/apply:os.system ['touch {tmp_path}/ran']\n")
        self.refused(trained, r"evil\.yaml holds YAML tags that would run code", str(config))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("MODEL: {UNHEARD_OF: 1}", "has a key that Detectron2 does not know"),
            ("[1, 2]", "is not a Detectron2 config"),
            ("MODEL: {MASK_ON: banana}", "is not a Detectron2 config"),
            ("a: b: c", "is not a Detectron2 config"),
            ("MODEL: {META_ARCHITECTURE: MyOwn}", "names .*MyOwn"),
            ("_BASE_: changed.yaml", "is not a Detectron2 config"),
        ],
    )
    def test_configs_that_are_none(self, trained, tmp_path, text, match):
        config = tmp_path / "changed.yaml"
        config.write_text(text)
        self.refused(trained, match, str(config))

    def test_weights_of_another_model(self, trained, tmp_path):
        config = changed_config(trained, tmp_path, MODEL__ROI_HEADS__NUM_CLASSES=4)
        self.refused(trained, r"does not fit its config: .*predictor.* is \(.*, the config wants \(", str(config))
        config = changed_config(trained, tmp_path, MODEL__ROI_MASK_HEAD__NUM_CONV=2)
        self.refused(trained, r"does not fit its config: it has no weights for .*mask_fcn2", str(config))

    def test_weights_that_diverged(self, trained, tmp_path):
        import torch

        content = torch.load(trained, weights_only=True)
        next(iter(content["model"].values()))[0] = float("nan")
        torch.save(content, tmp_path / "nan.pth")
        self.refused(tmp_path / "nan.pth", "not finite numbers", str(trained.with_name("config.yaml")))

    def test_a_plain_table_and_a_zoo_pickle_give_the_same_model(self, trained, tmp_path):
        import torch

        from fashionseg.export.checkpoint import open_checkpoint

        weights = torch.load(trained, weights_only=True)["model"]
        config = str(trained.with_name("config.yaml"))
        torch.save(weights, tmp_path / "bare.pth")
        arrays = {key: value.numpy() for key, value in weights.items()}
        (tmp_path / "zoo.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "zoo"}, protocol=2))
        for name in ("bare.pth", "zoo.pkl"):
            opened = open_checkpoint(tmp_path / name, config)
            for key, value in opened.model.state_dict().items():
                assert torch.equal(value, weights[key]), (name, key)
            assert opened.classes.names[0] == "short_sleeved_shirt"

    def test_classes_that_the_caller_names(self, trained):
        from fashionseg.export.checkpoint import open_checkpoint
        from fashionseg.export.classes import parse_classes

        opened = open_checkpoint(trained, classes=parse_classes(["a:9", "b:8", "c:7", "d:6", "e:5"]))
        assert opened.classes.category_ids == (9, 8, 7, 6, 5)
        self.refused(trained, "--classes names 1 classes", classes=parse_classes(["a"]))
        assert open_checkpoint(trained).classes.names[:2] == ("hat", "scarf")


@detectron2
def test_too_many_detections(trained, tmp_path):
    from fashionseg.export.checkpoint import open_checkpoint
    from fashionseg.export.exporter import ExportOptions, build

    opened = open_checkpoint(trained)
    opened.config.TEST.DETECTIONS_PER_IMAGE = 5000
    with pytest.raises(ExportError, match="asks for 5000 detections a picture; choose 1 to 1000 with --max-detections"):
        build(opened, ExportOptions())


@detectron2
def test_weights_too_large_for_float16(trained):
    import torch

    from fashionseg.export.checkpoint import open_checkpoint
    from fashionseg.export.exporter import ExportOptions, build

    opened = open_checkpoint(trained)
    with torch.no_grad():
        opened.model.roi_heads.box_head.fc1.weight[0, 0] = 1e6
    with pytest.raises(
        ExportError, match=r"too large for float16 \(roi_heads.box_head.fc1.weight\): use --weights fp32"
    ):
        build(opened, ExportOptions(weights="fp16"))
