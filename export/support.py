"""Which Detectron2 models the batched graph can stand for: exactly, or not at all.

Every part of a model is compared with the class that `graph.py` was written against; a subclass may compute something
else, so it is refused too. Knows nothing about files and ONNX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fashionseg.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_TOP = 3840
"""TensorRT's TopK takes no more rows."""


def check_supported(model: Any, where: Path) -> None:
    """Refuse a model that the batched graph would not compute exactly.

    Raises:
        ExportError: naming the first part that is not supported.
    """
    for problem in _problems(model):
        raise ExportError(f"{where} cannot be exported: {problem}")


def _problems(model: Any) -> Iterator[str]:
    from detectron2.modeling import GeneralizedRCNN

    if type(model) is not GeneralizedRCNN:
        yield f"its architecture is {type(model).__name__}, and only GeneralizedRCNN (Mask R-CNN) is supported"
        return
    if model.input_format not in ("BGR", "RGB"):
        yield f"its input format is {model.input_format}, and only BGR and RGB are supported"
    yield from _backbone_problems(model.backbone)
    yield from _proposal_problems(model.proposal_generator)
    yield from _head_problems(model.roi_heads)


def _not(part: str, found: Any, *wanted: type) -> Iterator[str]:
    if type(found) not in wanted:
        names = " or ".join(kind.__name__ for kind in wanted)
        yield f"its {part} is {type(found).__name__}, and only {names} is supported"


def _backbone_problems(backbone: Any) -> Iterator[str]:
    from detectron2.layers import DeformConv, ModulatedDeformConv
    from detectron2.modeling.backbone.fpn import FPN
    from detectron2.modeling.backbone.resnet import ResNet

    yield from _not("backbone", backbone, FPN)
    yield from _not("bottom-up network", getattr(backbone, "bottom_up", None), ResNet)
    if any(isinstance(layer, (DeformConv, ModulatedDeformConv)) for layer in backbone.modules()):
        yield "it uses deformable convolutions, for which ONNX Runtime and TensorRT share no operator"
    if backbone.padding_constraints.get("square_size", 0):
        yield "it pads pictures to a square"


def _proposal_problems(rpn: Any) -> Iterator[str]:
    from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead

    yield from _not("proposal generator", rpn, RPN)
    yield from _not("RPN head", getattr(rpn, "rpn_head", None), StandardRPNHead)
    yield from _not("anchor generator", getattr(rpn, "anchor_generator", None), DefaultAnchorGenerator)
    yield from _not("RPN box transform", getattr(rpn, "box2box_transform", None), Box2BoxTransform)
    for name, top in (("PRE_NMS_TOPK_TEST", rpn.pre_nms_topk[False]), ("POST_NMS_TOPK_TEST", rpn.post_nms_topk[False])):
        if not 0 < top <= MAX_TOP:
            yield f"MODEL.RPN.{name} is {top}; TensorRT takes 1 to {MAX_TOP}"


def _head_problems(heads: Any) -> Iterator[str]:
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.roi_heads import FastRCNNConvFCHead, FastRCNNOutputLayers, StandardROIHeads
    from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead

    yield from _not("ROI head", heads, StandardROIHeads)
    if not heads.mask_on:
        yield "it has no mask head"
        return
    if heads.keypoint_on:
        yield "it finds key points too, which a model file cannot hold"
    yield from _not("box head", heads.box_head, FastRCNNConvFCHead)
    yield from _not("box predictor", heads.box_predictor, FastRCNNOutputLayers)
    yield from _not("box transform", heads.box_predictor.box2box_transform, Box2BoxTransform)
    yield from _not("mask head", heads.mask_head, MaskRCNNConvUpsampleHead)
    yield from _pooler_problems("box", heads.box_pooler)
    yield from _pooler_problems("mask", heads.mask_pooler)
    if list(heads.box_in_features) != list(heads.mask_in_features):
        yield "its box and mask heads read different feature levels"
    if heads.box_predictor.test_score_thresh < 0:
        yield f"its score threshold is {heads.box_predictor.test_score_thresh}, below 0"


def _pooler_problems(name: str, pooler: Any) -> Iterator[str]:
    from detectron2.layers import ROIAlign

    if pooler is None:
        yield f"its {name} head has no pooler"
        return
    align = pooler.level_poolers[0]
    yield from _not(f"{name} pooler", align, ROIAlign)
    if not align.aligned:
        yield f"its {name} pooler is the legacy ROIAlign without half-pixel alignment, and only ROIAlignV2 is supported"
    if align.output_size[0] != align.output_size[1]:
        yield f"its {name} pooler is not square"
