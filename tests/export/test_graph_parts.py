"""The parts of the graph against Detectron2's and torchvision's own functions."""

import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.layers import batched_nms
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from torchvision.ops import nms

from fashionseg.export.boxes import NMS_ROUNDS, clip, decode, greedy_keep, shifted, size_of, threshold_at_most
from fashionseg.export.pooling import Canvas, PyramidPooler, reading_order

pytestmark = pytest.mark.detectron2


def random_boxes(count, seed, side=200.0, least=2.0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, side * 0.8, (count, 2))
    size = np.exp(rng.uniform(np.log(least), np.log(side / 2), (count, 2)))
    return torch.from_numpy(np.concatenate((corner, corner + size), 1).clip(0, side).astype(np.float32))


def kept_by_ours(boxes, valid, threshold, labels=None):
    kept, exact = greedy_keep(
        boxes[None], valid[None, None].float(), threshold, len(boxes), None if labels is None else labels[None]
    )
    return kept[0, 0] > 0.5, float(exact[0])


@pytest.mark.parametrize("count", [1, 2, 174, 175, 176, 351, 1000])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_nms_is_torchvisions(count, threshold):
    boxes = random_boxes(count, count)
    scores = torch.arange(count, 0, -1).float()
    valid = torch.from_numpy(np.random.default_rng(count).random(count) < 0.9)
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 3, count))
    for tags in (None, labels):
        ours, exact = kept_by_ours(boxes, valid, threshold, tags)
        rows = torch.nonzero(valid)[:, 0]
        group = torch.zeros(len(rows)) if tags is None else tags[rows]
        # Label by label: torchvision's own way for small sets shifts boxes by label, and rounds.
        parts = [rows[group == label] for label in group.unique()]
        theirs = [part[nms(boxes[part], scores[part], threshold)] for part in parts]
        wanted = torch.zeros(count, dtype=torch.bool)
        wanted[torch.cat(theirs)] = True
        assert exact == 1
        assert torch.equal(ours, wanted), f"{int((ours != wanted).sum())} of {count} boxes differ"


def test_nms_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [20, 20, 30, 30], [5, 5, 5, 5], [5, 5, 5, 5]])
    # 0 strikes out 1 (IoU 0.8) and 2 (0.6 > 0.5); without 0, box 1 strikes out 2. Empty boxes overlap nothing.
    everyone = torch.ones(6, dtype=torch.bool)
    assert kept_by_ours(boxes, everyone, 0.5)[0].tolist() == [True, False, False, True, True, True]
    without_first = torch.tensor([False, True, True, True, True, True])
    assert kept_by_ours(boxes, without_first, 0.5)[0].tolist() == [False, True, False, True, True, True]
    # At exactly the threshold a box stays; float32(0.8) is above 0.8, and torchvision compares with the latter.
    half = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert kept_by_ours(half, everyone[:2], 0.5)[0].tolist() == [True, True]
    assert kept_by_ours(boxes[:2], everyone[:2], 0.8)[0].tolist() == [True, False]
    assert nms(boxes[:2], torch.tensor([2.0, 1.0]), 0.8).tolist() == [0]


@pytest.mark.parametrize("count", [0, 1, 800, 1500])
def test_shifted_nms_is_batched_nms(count):
    """Also where an overlap is so near the threshold that the rounding of the shift decides."""
    rng = np.random.default_rng(count)
    boxes = random_boxes(count, count, side=1300.0)
    # Pairs whose IoU is 1/2 up to the rounding of their corners: of the same size, a third of it apart.
    near = boxes[: count // 2].clone()
    near[:, 0::2] += (near[:, 2:3] - near[:, 0:1]) / 3
    boxes = torch.cat((boxes, near))[rng.permutation(count + count // 2)]
    labels = torch.from_numpy(rng.integers(0, 80, len(boxes)))
    scores = torch.arange(len(boxes), 0, -1).float()
    valid = torch.from_numpy(rng.random(len(boxes)) < 0.8)
    rows = torch.nonzero(valid)[:, 0]
    wanted = torch.zeros(len(boxes), dtype=torch.bool)
    wanted[rows[batched_nms(boxes[rows], scores[rows], labels[rows], 0.5)]] = True
    if count:
        total = valid.float().sum().reshape(1, 1, 1)
        moved = shifted(boxes[None], labels[None, :, None].float(), valid[None, :, None].float(), total)
        ours, exact = kept_by_ours(moved[0], valid, 0.5, labels)
        assert exact == 1
        assert torch.equal(ours, wanted), f"{int((ours != wanted).sum())} of {len(boxes)} boxes differ"


def test_a_long_chain_is_reported_not_wrong():
    """Each box overlaps the next alone: who is kept alternates, and one round settles one box."""
    short, long = NMS_ROUNDS - 2, NMS_ROUNDS + 6
    for count, settled in ((short, 1.0), (long, 0.0)):
        left = torch.arange(count).float() * 3
        boxes = torch.stack((left, left * 0, left + 10, left * 0 + 10), 1)
        ours, exact = kept_by_ours(boxes, torch.ones(count, dtype=torch.bool), 0.5)
        assert exact == settled
        if settled:
            assert ours.tolist() == [i % 2 == 0 for i in range(count)]


def test_thresholds_round_down():
    assert threshold_at_most(0.5) == 0.5
    for value in (0.3, 0.6, 0.7, 0.9):
        rounded = np.float32(threshold_at_most(value))
        assert float(rounded) <= value < float(np.nextafter(rounded, np.float32(1)))


def test_decode_and_clip_are_detectron2s():
    weights = (10.0, 10.0, 5.0, 5.0)
    transform = Box2BoxTransform(weights)
    deltas = torch.from_numpy(np.random.default_rng(0).normal(0, 12, (300, 4)).astype(np.float32))
    boxes = random_boxes(300, 5)
    wanted = Boxes(transform.apply_deltas(deltas, boxes))
    ours = decode(deltas, boxes, weights, transform.scale_clamp)
    torch.testing.assert_close(ours, wanted.tensor, rtol=1e-6, atol=1e-3)
    wanted.clip((150, 190))
    torch.testing.assert_close(clip(ours[None], torch.tensor([[150.0, 190.0]]))[0], wanted.tensor, rtol=1e-6, atol=1e-3)
    assert clip(torch.zeros(2, 0, 4), torch.ones(2, 2)).shape == (2, 0, 4)


@pytest.mark.parametrize(
    ("scales", "ratio"), [((1 / 4, 1 / 8, 1 / 16, 1 / 32), 0), ((1 / 4, 1 / 8, 1 / 16), 2), ((1 / 8,), 0)]
)
def test_pooling_is_detectron2s(scales, ratio):
    torch.manual_seed(0)
    side = 256
    levels = [torch.randn(2, 3, int(side * s), int(side * s) + int(64 * s)) for s in scales]
    pooler = ROIPooler(7, scales, ratio, "ROIAlignV2")
    boxes = torch.cat(
        (
            random_boxes(40, 1, side, least=0.5),
            torch.tensor([[0.0, 0, 320, 256], [300, 250, 320, 256], [0, 0, 0, 0], [10, 10, 10, 90], [0, 0, 112, 112]]),
            torch.tensor([[7.0, 9, 7 + 224, 9 + 224], [0, 0, 320, 1], [319.5, 0, 320, 256]]),
        )
    ).expand(2, -1, -1)
    ours = PyramidPooler(pooler, boxes.shape[1])
    canvas = Canvas(levels)
    present = torch.ones(boxes.shape[:2], dtype=torch.bool)
    present[1, ::3] = False
    pooled = ours(canvas, ours.places(canvas, boxes, present), torch.arange(2)[:, None])
    wanted = pooler(levels, [Boxes(one) for one in boxes]) * present.reshape(-1)[:, None, None, None]
    worst = (pooled - wanted).abs().flatten(1).amax(1)
    assert worst.max() < 1e-3, f"boxes {torch.nonzero(worst >= 1e-3)[:, 0].tolist()}, worst {float(worst.max())}"


def test_levels_are_detectron2s_where_rounding_decides():
    pooler = ROIPooler(7, (1 / 4, 1 / 8, 1 / 16, 1 / 32), 0, "ROIAlignV2")
    ours = PyramidPooler(pooler, 1)
    near = [np.float32(224 * 2.0**power) for power in (-2, -1, 0, 1)]
    sides = [np.float32(side * (1 + step * 6e-8)) for side in near for step in range(-6, 7)]
    boxes = torch.tensor([[0.0, 0.0, float(side), float(side)] for side in sides] + random_boxes(500, 2, 900).tolist())
    wanted = assign_boxes_to_levels([Boxes(boxes)], 2, 5, 224, 4)
    width, height = size_of(boxes)
    level = (width * height >= ours.borders).long().sum(-1)
    wrong = torch.nonzero(level != wanted)[:, 0]
    assert len(wrong) == 0, f"boxes {boxes[wrong].tolist()} on levels {level[wrong].tolist()}"


def test_reading_order_is_a_permutation():
    places = torch.stack([random_boxes(50, seed) for seed in range(3)])
    order = reading_order(places, 50)
    assert torch.equal(order.sort(1).values, torch.arange(50).expand(3, -1))
