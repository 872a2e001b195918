"""The batched Mask R-CNN: Detectron2's own layers with glue of fixed shapes between them.

`BatchedRCNN` gives the answers of `GeneralizedRCNN.inference(..., do_postprocess=False)` for any number of pictures
of any size, traced once. It re-uses backbone, RPN head, box head, box predictor and mask head of the model and
replaces what loops over pictures or selects by data: proposals, poolers, thresholds, non-maximum suppression.
Knows nothing about files and ONNX. Which models it can stand for is judged in `support.py`.

Shapes: N pictures, H and W of the padded batch, R proposals and K detections a picture, L levels of A anchors a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from fashionseg.export.boxes import clip, decode, greedy_keep, shifted, size_of
from fashionseg.export.operators import reshape, rows_at
from fashionseg.export.pooling import Canvas, PyramidPooler, reading_order

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
        self.masks = Masks(model.roi_heads, self.detector.limit)

    def forward(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """Detections of a batch.

        Args:
            images: uint8 [N, H, W, 3], BGR, padded right and below to H and W.
            image_sizes: int32 [N, 2], height and width of the valid area of each picture.
        """
        features = self.backbone(self.normalised(images, image_sizes))
        sizes = image_sizes.float()
        proposals, present, settled = self.proposals(features, sizes)
        canvas = Canvas([features[name] for name in self.detector.in_features])
        batch = torch.arange(images.shape[0])[:, None]
        boxes, scores, labels, complete = self.detector(canvas, batch, proposals, present, sizes)
        found = scores > PRESENT
        masks = self.masks(canvas, batch, boxes, labels, found)
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
            pixels = pixels[:, [2, 1, 0]]
        pixels = (pixels - self.pixel_mean) / self.pixel_std
        height, width = image_sizes[:, None].split(1, 2)  # [N, 1, 1]
        rows = torch.arange(images.shape[1], dtype=torch.int32)[:, None] < height[:, None]
        columns = torch.arange(images.shape[2], dtype=torch.int32) < width[:, None]
        return pixels * (rows & columns).float()


class Proposals(nn.Module):
    """What Detectron2's `RPN` proposes: per level top-k, decode, clip, NMS; then the best over all levels."""

    def __init__(self, rpn: nn.Module) -> None:
        super().__init__()
        anchors = rpn.anchor_generator
        self.head = rpn.rpn_head
        self.in_features = list(rpn.in_features)
        self.anchors = int(anchors.num_anchors[0])
        self.offset = float(anchors.offset)
        self.register_buffer("cell_anchors", torch.cat(list(anchors.cell_anchors)), False)  # [L * A, 4]
        self.weights = tuple(rpn.box2box_transform.weights)
        self.scale_clamp = float(rpn.box2box_transform.scale_clamp)
        self.min_size = float(rpn.min_box_size)
        self.nms_threshold = float(rpn.nms_thresh)
        self.top = int(rpn.pre_nms_topk[False])
        self.limit = min(int(rpn.post_nms_topk[False]), self.top * len(self.in_features))
        level = torch.arange(len(self.in_features)).repeat_interleave(self.top)  # rows are those of level after level
        self.register_buffer("level_of_row", level, False)
        self.register_buffer("stride_of_row", torch.tensor(anchors.strides, dtype=torch.float32)[level][:, None], False)
        self.register_buffer("first_anchor_of_row", level * self.anchors, False)

    def forward(self, features: dict[str, Tensor], sizes_hw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals of each picture.

        Args:
            features: per name float32 [N, C, h, w].
            sizes_hw: float32 [N, 2], height and width of each picture in pixels.

        Returns:
            boxes float32 [N, R, 4], best first; present bool [N, R]; settled float32 [N], 1.0 where NMS was exact.
        """
        logits, deltas = self.head([features[name] for name in self.in_features])
        best = [self._best(logit) for logit in logits]
        scores = torch.cat([score for score, _ in best], 1)  # [N, L * k]
        boxes = clip(self._decoded(torch.cat([index for _, index in best], 1), deltas), sizes_hw)
        width, height = size_of(boxes)
        valid = ((torch.minimum(width, height) > self.min_size) & (scores[..., None] > PRESENT)).float()
        compared = shifted(boxes, self.level_of_row[:, None].float(), valid, valid.sum(1, keepdim=True))
        kept, exact = greedy_keep(
            reshape(compared, (-1, self.top, 4)), reshape(valid, (-1, 1, self.top)), self.nms_threshold, self.top
        )
        kept = reshape(kept, (-1, len(logits) * self.top)) > 0.5
        ranked, index = torch.where(kept, scores, ABSENT).topk(self.limit, 1)
        return rows_at(boxes, index), ranked > PRESENT, reshape(exact, (-1, len(logits))).amin(1)

    def _best(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The top scores [N, k] of a level, float32 [N, A, h, w], and their indices int64 [N, k] in h, w, A.

        k rows that do not exist make room for a constant k on small pictures.
        """
        flat = logits.permute(0, 2, 3, 1).flatten(1)
        scores, index = F.pad(flat, (0, self.top), value=ABSENT).topk(self.top, 1)
        return scores, index

    def _decoded(self, index: Tensor, deltas: list[Tensor]) -> Tensor:
        """Boxes [N, L * k, 4] of the anchors `index` int64 [N, L * k]; only these are decoded.

        Rows that do not exist (see `_best`) get a box of some other anchor: their score says that they do not count.

        Args:
            index: position in h, w, A of the level that each row belongs to.
            deltas: per level float32 [N, A * 4, h, w].
        """
        sizes = torch.stack([torch._shape_as_tensor(delta)[2:] for delta in deltas])  # [L, 2], height and width
        cells = sizes[:, 0] * sizes[:, 1]
        starts = cells.cumsum(0) - cells
        width = sizes[:, 1][self.level_of_row]
        anchor, cell = index % self.anchors, torch.div(index, self.anchors, rounding_mode="trunc")
        corner = torch.stack((cell % width, torch.div(cell, width, rounding_mode="trunc")), -1).float()
        shift = (corner + self.offset) * self.stride_of_row
        base = self.cell_anchors[anchor + self.first_anchor_of_row] + torch.cat((shift, shift), -1)

        place = torch.minimum(cell, (cells - 1)[self.level_of_row]) + starts[self.level_of_row]
        table = torch.cat([delta.permute(0, 2, 3, 1).flatten(1) for delta in deltas], 1)
        table = reshape(table, (0, -1, 4))  # [N, cells of all levels * A, 4]
        return decode(rows_at(table, place * self.anchors + anchor), base, self.weights, self.scale_clamp)


class Detector(nn.Module):
    """What Detectron2's box head and `fast_rcnn_inference` find among the proposals."""

    def __init__(self, heads: nn.Module, max_detections: int, proposals: int) -> None:
        super().__init__()
        predictor = heads.box_predictor
        self.in_features = list(heads.box_in_features)
        self.pooler = PyramidPooler(heads.box_pooler, proposals)
        self.head = heads.box_head
        self.predictor = predictor
        self.sigmoid = bool(predictor.use_sigmoid_ce)
        self.classes = int(predictor.num_classes)
        self.class_boxes = predictor.bbox_pred.out_features // 4
        self.weights = tuple(predictor.box2box_transform.weights)
        self.scale_clamp = float(predictor.box2box_transform.scale_clamp)
        # A named constant of the graph: `parity.py` opens it where pictures yield too little to compare.
        self.register_buffer("score_threshold", torch.tensor([float(predictor.test_score_thresh)]))
        self.nms_threshold = float(predictor.test_nms_thresh)
        self.proposals = proposals
        self.candidates = min(max(MAX_CANDIDATES, max_detections), proposals * self.classes)
        self.limit = min(max_detections, self.candidates)

    def forward(
        self, canvas: Canvas, batch: Tensor, proposals: Tensor, present: Tensor, sizes_hw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best K detections of each picture.

        Args:
            canvas: the feature levels `in_features`.
            batch: int64 [N, 1], the numbers 0 .. N - 1.
            proposals: float32 [N, R, 4].
            present: bool [N, R], which proposals exist.
            sizes_hw: float32 [N, 2].

        Returns:
            boxes float32 [N, K, 4]; scores float32 [N, K], `ABSENT` where there is none; labels int64 [N, K];
            complete float32 [N], 1.0 where the answer is exact.
        """
        places = self.pooler.places(canvas, proposals, present)
        order = reading_order(places, self.proposals)
        proposals, present = rows_at(proposals, order), rows_at(present, order)
        logits, deltas = self.predictor(self.head(self.pooler(canvas, rows_at(places, order), batch)))
        probabilities = logits.sigmoid() if self.sigmoid else logits.softmax(-1)
        probabilities = reshape(probabilities[:, : self.classes], (-1, self.proposals, self.classes))
        passed = torch.where(
            present[..., None] & (probabilities > self.score_threshold), probabilities, ABSENT
        ).flatten(1)
        scores, index = passed.topk(self.candidates, 1)
        row, labels = torch.div(index, self.classes, rounding_mode="trunc"), index % self.classes
        deltas = reshape(deltas, (-1, self.proposals * self.class_boxes, 4))
        chosen = rows_at(deltas, row if self.class_boxes == 1 else index)
        boxes = clip(decode(chosen, rows_at(proposals, row), self.weights, self.scale_clamp), sizes_hw)
        valid = (scores > PRESENT).float()
        total = (passed > PRESENT).float().sum(1, keepdim=True)
        compared = shifted(boxes, labels.float()[..., None], valid[..., None], total[..., None])
        kept, exact = greedy_keep(compared, valid[:, None], self.nms_threshold, self.candidates, labels)
        best, order = torch.where(kept[:, 0] > 0.5, scores, ABSENT).topk(self.limit, 1)
        if self.candidates < self.proposals * self.classes:
            cut = total[:, 0] > self.candidates
            starved = kept.sum((1, 2)) < self.limit
            exact = exact * (1 - (cut & starved).float())
        return rows_at(boxes, order), best, rows_at(labels, order), exact


class Masks(nn.Module):
    """What Detectron2's mask head says about each detection, for the predicted class only.

    Its transposed convolution (kernel 2, stride 2) writes every pixel of a 2 x 2 block from one pixel of its input:
    it is four 1 x 1 convolutions. The predictor after it works pixel by pixel, so it is applied to the four parts, and
    only the logits of one class are put in place, not 256 channels. On a CPU this saves two changes of layout.
    """

    def __init__(self, heads: nn.Module, detections: int) -> None:
        super().__init__()
        head = heads.mask_head
        self.detections = detections
        self.pooler = PyramidPooler(heads.mask_pooler, detections)
        self.convolutions = nn.ModuleList(head.conv_norm_relus)
        self.parts = nn.ModuleList(_part(head.deconv, row, column) for row in (0, 1) for column in (0, 1))
        self.predictor = head.predictor
        self.agnostic = self.predictor.out_channels == 1

    def forward(self, canvas: Canvas, batch: Tensor, boxes: Tensor, labels: Tensor, found: Tensor) -> Tensor:
        """Probabilities float32 [N, K, m, m] of the detections.

        Args:
            canvas: the feature levels `in_features`.
            batch: int64 [N, 1], the numbers 0 .. N - 1.
            boxes: float32 [N, K, 4].
            labels: int64 [N, K].
            found: bool [N, K], which detections exist.
        """
        side = self.pooler.size
        cells = self.pooler(canvas, self.pooler.places(canvas, boxes, found), batch)
        for convolution in self.convolutions:
            cells = convolution(cells)
        logits = torch.stack([self.predictor(F.relu(part(cells))) for part in self.parts], 2)  # [N K, C, 4, s, s]
        if not self.agnostic:
            logits = rows_at(logits, reshape(labels, (-1, 1)))
        # The logit of row 2 i + a, column 2 j + b stands in part (a, b) at (i, j).
        logits = reshape(logits, (-1, 2, 2, side, side)).permute(0, 3, 1, 4, 2)
        return reshape(logits, (-1, self.detections, 2 * side, 2 * side)).sigmoid()


def _part(deconv: nn.ConvTranspose2d, row: int, column: int) -> nn.Conv2d:
    """The 1 x 1 convolution that writes pixel (`row`, `column`) of each 2 x 2 block."""
    layer = nn.Conv2d(deconv.in_channels, deconv.out_channels, 1)
    with torch.no_grad():
        layer.weight.copy_(deconv.weight[:, :, row, column].T[..., None, None])
        layer.bias.copy_(torch.zeros(1) if deconv.bias is None else deconv.bias)
    return layer.requires_grad_(False)
