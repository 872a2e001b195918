"""A Mask R-CNN with random weights that nevertheless finds things: for parity and speed without a trained checkpoint.

Freshly initialised, Detectron2's heads answer next to nothing everywhere, and a comparison of no detections proves
nothing. Here the last layer of each head is scaled, on one picture, until its answers spread as those of a trained
model do, and the background is weighed until as many boxes pass the score threshold as asked for.
Knows nothing about ONNX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from detectron2.config import CfgNode
    from detectron2.modeling import GeneralizedRCNN
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from fashionseg.export.checkpoint import Checkpoint

R50_FPN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"

OBJECTNESS_SPREAD = 3.0
PROPOSAL_DELTA_SPREAD = 0.3
CLASS_SPREAD = 3.0
BOX_DELTA_SPREAD = 1.0
MASK_SPREAD = 3.0


def r50_fpn_config(classes: int = 5, detections: int = 100) -> CfgNode:
    """Detectron2's R50-FPN Mask R-CNN (3x schedule) for `classes` classes, on the CPU, without weights."""
    from detectron2 import model_zoo

    config = model_zoo.get_config(R50_FPN)
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
    config.MODEL.ROI_HEADS.NUM_CLASSES = classes
    config.TEST.DETECTIONS_PER_IMAGE = detections
    return config


def random_mask_rcnn(config: CfgNode, picture: NDArray[np.uint8], detections: int, seed: int = 0) -> GeneralizedRCNN:
    """A model of `config` with random weights that finds about `detections` objects in `picture`.

    Args:
        config: a Detectron2 config.
        picture: uint8 [H, W, 3] in the channel order of the config.
        detections: how many it should find, at least 1; never more than the config's detections per image.
        seed: of the weights.

    Returns:
        the model, in evaluation mode.
    """
    import torch
    from detectron2.modeling import build_model

    torch.manual_seed(seed)
    model = build_model(config).eval()
    inputs = [{"image": torch.as_tensor(picture.transpose(2, 0, 1).astype("float32"))}]
    with torch.no_grad():
        _calm_residuals(model.backbone)
        features = model.backbone(model.preprocess_image(inputs).tensor)
        _spread_heads(model, features, inputs)
        _weigh_background(model, features, inputs, detections)
    return model


def random_r50_fpn(picture: NDArray[np.uint8], classes: int = 5, detections: int = 100) -> Checkpoint:
    """Detectron2's R50-FPN with random weights, as if it had been read from a checkpoint.

    Args:
        picture: uint8 [H, W, 3], BGR; resized by the rule of the model, which finds about `detections` objects in it.
        classes: how many.
        detections: rows of the model, too.
    """
    from pathlib import Path

    from fashionseg.export.checkpoint import Checkpoint
    from fashionseg.export.classes import Classes
    from fashionseg.preprocess import resize, resized_size

    config = r50_fpn_config(classes, detections)
    size_hw = resized_size(picture.shape[:2], config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST)
    model = random_mask_rcnn(config, resize(picture, size_hw), detections)
    names = Classes(tuple(f"class {number}" for number in range(classes)), tuple(range(1, classes + 1)))
    return Checkpoint(Path("random-r50-fpn.pth"), "", model, config, names, {})


def picture_tensor(picture: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Detectron2's input for a picture, uint8 [H, W, 3]."""
    import torch

    return {"image": torch.as_tensor(picture.transpose(2, 0, 1).astype("float32"))}


def _calm_residuals(backbone: nn.Module) -> None:
    """Scale the last convolution of each residual block down, so that the signal does not grow block by block."""
    from detectron2.modeling.backbone.resnet import BottleneckBlock

    for block in backbone.modules():
        if isinstance(block, BottleneckBlock):
            block.conv3.weight.mul_(0.3)


def _spread(layer: nn.Module, values: Tensor, target: float) -> None:
    """Scale a linear layer so that its answers, now `values`, have the standard deviation `target` and mean 0."""
    mean, deviation = values.mean(), values.std()
    layer.weight.mul_(target / deviation)
    layer.bias.sub_(mean).mul_(target / deviation)


def _spread_heads(model: GeneralizedRCNN, features: dict[str, Tensor], inputs: list[dict[str, Tensor]]) -> None:
    import torch

    rpn, heads = model.proposal_generator, model.roi_heads
    logits, deltas = rpn.rpn_head([features[name] for name in rpn.in_features])
    _spread(rpn.rpn_head.objectness_logits, torch.cat([x.flatten() for x in logits]), OBJECTNESS_SPREAD)
    _spread(rpn.rpn_head.anchor_deltas, torch.cat([x.flatten() for x in deltas]), PROPOSAL_DELTA_SPREAD)
    proposals, _ = rpn(model.preprocess_image(inputs), features, None)
    maps = [features[name] for name in heads.box_in_features]
    hidden = heads.box_head(heads.box_pooler(maps, [p.proposal_boxes for p in proposals]))
    scores, boxes = heads.box_predictor(hidden)
    # Each class apart: neighbouring regions answer alike, and one class would win everywhere.
    mean, deviation = scores.mean(0), scores.std(0)
    heads.box_predictor.cls_score.weight.mul_((CLASS_SPREAD / deviation)[:, None])
    heads.box_predictor.cls_score.bias.sub_(mean).mul_(CLASS_SPREAD / deviation)
    _spread(heads.box_predictor.bbox_pred, boxes, BOX_DELTA_SPREAD)
    found = heads._forward_box(features, proposals)
    pooled = heads.mask_pooler(maps, [p.pred_boxes for p in found])
    for layer in list(heads.mask_head)[:-1]:
        pooled = layer(pooled)
    _spread(heads.mask_head.predictor, heads.mask_head.predictor(pooled), MASK_SPREAD)


def _weigh_background(
    model: GeneralizedRCNN, features: dict[str, Tensor], inputs: list[dict[str, Tensor]], detections: int
) -> None:
    """Bisect the bias of the background class until `detections` objects are found (fewer where none fits)."""
    proposals, _ = model.proposal_generator(model.preprocess_image(inputs), features, None)
    bias = model.roi_heads.box_predictor.cls_score.bias
    start = bias[-1].clone()
    low, high = -20.0, 40.0
    for _ in range(12):
        middle = (low + high) / 2
        bias[-1] = start + middle
        found = len(model.roi_heads._forward_box(features, proposals)[0])
        low, high = (middle, high) if found >= detections else (low, middle)
    bias[-1] = start + low
