"""The batched Mask R-CNN: Detectron2's own layers with glue of fixed shapes between them.

`BatchedRCNN` gives the answers of `GeneralizedRCNN.inference(..., do_postprocess=False)` for any number of pictures
of any size, traced once. It re-uses backbone, RPN head, box head, box predictor and mask head of the model and
replaces what loops over pictures or selects by data: proposals, poolers, thresholds, non-maximum suppression.
Knows nothing about files and ONNX. Which models it can stand for is judged in `support.py`.

Shapes: N pictures, H and W of the padded batch, K detections a picture, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from fashionseg.export.boxes import clip, decode, greedy_keep, sides
from fashionseg.export.pooling import PyramidPooler

if TYPE_CHECKING:
    from detectron2.modeling import GeneralizedRCNN
    from torch import Tensor

ABSENT = -1e30
"""Score of a row that does not exist: below every real logit or probability."""

PRESENT = -1e29
"""A score above this is a real one."""

MAX_CANDIDATES = 1000
"""Box candidates of a picture that enter the last non-maximum suppression, best first. Where more pass the score
threshold and fewer than K survive among these, `nms_exact` says so."""


class BatchedRCNN(nn.Module):
    """See the module's text. Inputs and outputs are the tensors of `fashionseg.model.ModelSpec`."""

    def __init__(self, model: GeneralizedRCNN, max_detections: int) -> None:
        super().__init__()
        self.flip_channels = model.input_format == "RGB"
        self.backbone = model.backbone
        self.register_buffer("pixel_mean", model.pixel_mean.reshape(1, 3, 1, 1))
        self.register_buffer("pixel_std", model.pixel_std.reshape(1, 3, 1, 1))
        self.proposals = Proposals(model.proposal_generator)
        self.detector = Detector(model.roi_heads, max_detections, self.proposals.limit)
        self.masks = Masks(model.roi_heads)

    def forward(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """Detections of a batch.

        Args:
            images: uint8 [N, H, W, 3], BGR, padded right and below to H and W.
            image_sizes: int32 [N, 2], height and width of the valid area of each picture.
        """
        features = self.backbone(self.normalised(images, image_sizes))
        sizes = image_sizes.float()
        proposals, present, settled = self.proposals(features, sizes)
        boxes, scores, labels, complete = self.detector(features, proposals, present, sizes)
        found = scores > PRESENT
        masks = self.masks(features, boxes, labels, found)
        return {
            "boxes": torch.where(found[..., None], boxes, 0.0),
            "labels": torch.where(found, labels, 0).int(),
            "masks": torch.where(found[..., None, None], masks, 0.0),
            "nms_exact": (settled * complete).int(),
            "num_detections": found.int().sum(1, dtype=torch.int32),
            "scores": torch.where(found, scores, 0.0),
        }

    def normalised(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """Float32 [N, 3, H, W] in the channel order of the model, zero outside the valid area."""
        pixels = images.float().permute(0, 3, 1, 2)
        if self.flip_channels:
            pixels = pixels.flip(1)
        pixels = (pixels - self.pixel_mean) / self.pixel_std
        row = torch.arange(images.shape[1], dtype=torch.int32)[None, :, None] < image_sizes[:, 0, None, None]
        column = torch.arange(images.shape[2], dtype=torch.int32)[None, None, :] < image_sizes[:, 1, None, None]
        return torch.where((row & column)[:, None], pixels, 0.0)


class Proposals(nn.Module):
    """What Detectron2's `RPN` proposes: per level top-k, decode, clip, NMS; then the best over all levels."""

    def __init__(self, rpn: nn.Module) -> None:
        super().__init__()
        self.head = rpn.rpn_head
        self.in_features = list(rpn.in_features)
        self.strides = [int(stride) for stride in rpn.anchor_generator.strides]
        self.offset = float(rpn.anchor_generator.offset)
        for level, cell in enumerate(rpn.anchor_generator.cell_anchors):
            self.register_buffer(f"cell_anchors_{level}", cell.clone())
        self.weights = tuple(rpn.box2box_transform.weights)
        self.scale_clamp = float(rpn.box2box_transform.scale_clamp)
        self.min_size = float(rpn.min_box_size)
        self.nms_threshold = float(rpn.nms_thresh)
        self.top = int(rpn.pre_nms_topk[False])
        self.limit = min(int(rpn.post_nms_topk[False]), self.top * len(self.in_features))

    def forward(self, features: dict[str, Tensor], sizes_hw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals of each picture.

        Args:
            features: per name float32 [N, C, h, w].
            sizes_hw: float32 [N, 2], height and width of each picture in pixels.

        Returns:
            boxes float32 [N, R, 4], best first; present bool [N, R]; settled float32 [N], 1.0 where NMS was exact.
        """
        logits, deltas = self.head([features[name] for name in self.in_features])
        levels = [self._best(i, logit, delta) for i, (logit, delta) in enumerate(zip(logits, deltas, strict=True))]
        scores = torch.stack([score for score, _ in levels], 1)  # [N, L, k]
        boxes = torch.stack([box for _, box in levels], 1)  # [N, L, k, 4]
        count, depth = boxes.shape[0], len(levels)
        boxes = clip(boxes.reshape(count, -1, 4), sizes_hw)
        width, height = sides(boxes)
        real = (scores.reshape(count, -1) > PRESENT) & (width > self.min_size) & (height > self.min_size)
        kept, exact = greedy_keep(
            boxes.reshape(-1, self.top, 4), real.float().reshape(-1, self.top), self.nms_threshold
        )
        ranked = torch.where(kept.reshape(count, -1) > 0.5, scores.reshape(count, -1), ABSENT)
        best, index = ranked.topk(self.limit, 1)
        chosen = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return chosen, best > PRESENT, exact.reshape(-1, depth).amin(1)

    def _best(self, level: int, logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """The top scores [N, k] of a level and their decoded boxes [N, k, 4]; only these are decoded.

        Args:
            level: index into the levels of the RPN.
            logits: float32 [N, A, h, w].
            deltas: float32 [N, A * 4, h, w].
        """
        count, anchors, height, width = logits.shape
        cells = height * width
        # k rows that do not exist make room for a constant k on small pictures, without a shape that depends on data.
        flat = F.pad(logits.permute(0, 2, 3, 1).reshape(count, -1), (0, self.top), value=ABSENT)
        scores, index = flat.topk(self.top, 1)
        index = index.clamp(max=cells * anchors - 1)
        anchor, cell = index % anchors, index // anchors
        shift_x = ((cell % width).float() + self.offset) * self.strides[level]
        shift_y = ((cell // width).float() + self.offset) * self.strides[level]
        shifts = torch.stack((shift_x, shift_y, shift_x, shift_y), -1)
        base = getattr(self, f"cell_anchors_{level}")[anchor]
        rows = deltas.view(count, anchors, 4, -1).permute(0, 3, 1, 2).reshape(count, -1, 4)
        chosen = rows.gather(1, index[..., None].expand(-1, -1, 4))
        return scores, decode(chosen, base + shifts, self.weights, self.scale_clamp)


class Detector(nn.Module):
    """What Detectron2's box head and `fast_rcnn_inference` find among the proposals."""

    def __init__(self, heads: nn.Module, max_detections: int, proposals: int) -> None:
        super().__init__()
        predictor = heads.box_predictor
        self.in_features = list(heads.box_in_features)
        self.pooler = PyramidPooler(heads.box_pooler)
        self.head = heads.box_head
        self.predictor = predictor
        self.sigmoid = bool(predictor.use_sigmoid_ce)
        self.classes = int(predictor.num_classes)
        self.class_boxes = predictor.bbox_pred.out_features // 4
        self.weights = tuple(predictor.box2box_transform.weights)
        self.scale_clamp = float(predictor.box2box_transform.scale_clamp)
        self.score_threshold = float(predictor.test_score_thresh)
        self.nms_threshold = float(predictor.test_nms_thresh)
        self.candidates = min(MAX_CANDIDATES, proposals * self.classes)
        self.limit = min(max_detections, self.candidates)

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, present: Tensor, sizes_hw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best K detections of each picture.

        Args:
            features: per name float32 [N, C, h, w].
            proposals: float32 [N, R, 4].
            present: bool [N, R], which proposals exist.
            sizes_hw: float32 [N, 2].

        Returns:
            boxes float32 [N, K, 4]; scores float32 [N, K], `ABSENT` where there is none; labels int64 [N, K];
            complete float32 [N], 1.0 where the answer is exact.
        """
        count, rows = proposals.shape[0], proposals.shape[1]
        pooled = self.pooler([features[name] for name in self.in_features], proposals, present)
        logits, deltas = self.predictor(self.head(pooled))
        probabilities = logits.sigmoid() if self.sigmoid else logits.softmax(-1)
        probabilities = probabilities.reshape(count, rows, -1)[..., : self.classes]
        wanted = present[..., None] & (probabilities > self.score_threshold)
        passed = torch.where(wanted, probabilities, ABSENT).reshape(count, -1)
        scores, index = passed.topk(self.candidates, 1)
        row, labels = index // self.classes, index % self.classes
        picked = row if self.class_boxes == 1 else index
        chosen = deltas.reshape(count, -1, 4).gather(1, picked[..., None].expand(-1, -1, 4))
        sources = proposals.gather(1, row[..., None].expand(-1, -1, 4))
        boxes = clip(decode(chosen, sources, self.weights, self.scale_clamp), sizes_hw)
        kept, exact = greedy_keep(boxes, (scores > PRESENT).float(), self.nms_threshold, labels)
        best, order = torch.where(kept > 0.5, scores, ABSENT).topk(self.limit, 1)
        complete = exact
        if self.candidates < rows * self.classes:
            cut = wanted.float().sum((1, 2)) > self.candidates
            starved = kept.sum(1) < self.limit
            complete = exact * (1 - (cut & starved).float())
        return boxes.gather(1, order[..., None].expand(-1, -1, 4)), best, labels.gather(1, order), complete


class Masks(nn.Module):
    """What Detectron2's mask head says about each detection, for the predicted class only."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        head = heads.mask_head
        self.in_features = list(heads.mask_in_features)
        self.pooler = PyramidPooler(heads.mask_pooler)
        self.convolutions = nn.ModuleList(head.conv_norm_relus)
        self.deconv = head.deconv
        self.predictor = head.predictor
        self.agnostic = self.predictor.out_channels == 1

    def forward(self, features: dict[str, Tensor], boxes: Tensor, labels: Tensor, found: Tensor) -> Tensor:
        """Probabilities float32 [N, K, m, m] for boxes [N, K, 4] with labels [N, K], where `found` [N, K]."""
        count, rows = labels.shape
        pooled = self.pooler([features[name] for name in self.in_features], boxes, found)
        for convolution in self.convolutions:
            pooled = convolution(pooled)
        hidden = F.relu(self.deconv(pooled))
        side = hidden.shape[-1]
        label = torch.zeros_like(labels) if self.agnostic else labels
        label = label.reshape(-1)
        weight = self.predictor.weight[:, :, 0, 0][label][:, None]
        logits = weight @ hidden.flatten(2)
        if self.predictor.bias is not None:
            logits = logits + self.predictor.bias[label][:, None, None]
        return logits.sigmoid().reshape(count, rows, side, side)
