"""The semantic head, the average of weights, label maps and curves, against hand-computed values."""

import numpy as np
import pytest

from fashionseg.errors import DataError

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


def test_cross_entropy_is_weighted_and_ignores_what_is_unknown():
    """Two known pixels of logits (0, 0) cost log 2 whatever their weights; unknown ones cost nothing."""
    import torch

    from fashionseg.training.network import IGNORE, _cross_entropy

    target = torch.tensor([[[0, 1], [IGNORE, IGNORE]]])
    loss = _cross_entropy(torch.zeros(1, 2, 2, 2), target, torch.tensor([1.0, 3.0]))
    assert float(loss) == pytest.approx(np.log(2))
    nothing = torch.full((1, 2, 2), IGNORE)
    assert float(_cross_entropy(torch.randn(1, 2, 2, 2), nothing, torch.ones(2))) == 0


def test_garments_are_painted_into_the_coarse_labels():
    import torch
    from detectron2.structures import BitMasks, Boxes, Instances

    from fashionseg.training.network import IGNORE, semantic_targets

    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True
    instances = Instances((4, 6))
    instances.gt_masks, instances.gt_classes, instances.gt_boxes = (
        BitMasks(mask),
        torch.tensor([2]),
        Boxes(torch.zeros(1, 4)),
    )
    empty = instances[torch.zeros(1, dtype=torch.bool)]
    image = torch.zeros(3, 4, 6)
    labels = torch.full((4, 6), 9)
    labels[0, :2] = torch.tensor([10, IGNORE])
    batch = [
        {"image": image, "instances": instances, "sem_seg": labels},
        {"image": image, "instances": empty},
    ]
    fine, coarse = semantic_targets(batch, (8, 8), 10, torch.device("cpu"))
    assert fine.shape == coarse.shape == (2, 8, 8)
    assert (fine[0, :2, :2] == torch.tensor([[IGNORE, IGNORE], [9, 9]])).all(), "the head has classes 0 to 9"
    assert int((fine[0] == 9).sum()) == 4 * 6 - 2
    assert (fine[1] == IGNORE).all()
    assert (coarse[0, 1:3, 2:5] == 3).all()
    assert int((coarse[0] == 0).sum()) == 4 * 6 - 6
    assert (coarse[1, :4, :6] == 0).all()
    assert (coarse[:, 4:] == IGNORE).all()


def test_the_average_follows_and_gives_back():
    import torch

    from fashionseg.training.ema import ExponentialAverage

    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = ExponentialAverage(module, 0.5)
    torch.nn.init.ones_(module.weight)
    average.update()  # decay (1 + 1) / (10 + 1)
    assert float(average.average()["weight"]) == pytest.approx(1 - 2 / 11)
    with average.applied():
        assert float(module.weight) == pytest.approx(1 - 2 / 11)
    assert float(module.weight) == 1
    other = ExponentialAverage(module, 0.5)
    other.load_state_dict(average.state_dict())
    average.update()
    other.update()
    assert float(other.average()["weight"]) == float(average.average()["weight"])


def test_processes_share_the_statistics_of_batch_normalisation(monkeypatch):
    import torch

    from fashionseg.training import hooks

    module = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    module[0].running_mean[:] = torch.tensor([1.0, 2.0])
    others = torch.tensor([3.0, 4.0, 5.0, 7.0, 2.0, 3.0])  # mean and variance of both layers in another process
    share = hooks.ShareStatistics(module)
    share.after_step()
    assert module[0].running_mean.tolist() == [1, 2], "there is no other process"
    monkeypatch.setattr(hooks.comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda together: together.add_(others))
    share.after_step()
    assert module[0].running_mean.tolist() == [2, 3]
    assert module[0].running_var.tolist() == [3, 4]
    assert (float(module[2].running_mean), float(module[2].running_var)) == (1, 2)
    hooks.ShareStatistics(module[1]).after_step()


def test_a_resumed_run_judges_the_best_weights_by_the_metric_it_is_given():
    from fashionseg.training.hooks import Validate

    stops = []
    state = {"best_step": 7, "without_gain": 2, "figures": {"segm/AP": 30.0, "bbox/AP": 40.0}}
    for metric, best in (("segm/AP", 30), ("bbox/AP", 40), ("segm/AP-hat", None)):
        judge = Validate(dict, lambda: None, metric, 5, 3, lambda: stops.append(1))
        judge.load_state_dict(state)
        assert (judge.best, judge.best_step, judge.state_dict()) == (best, 7, state)
    assert not stops
    Validate(dict, lambda: None, "segm/AP", 5, 2, lambda: stops.append(1)).load_state_dict(state)
    assert stops, "patience has run out"


def test_rare_labels_weigh_more_within_bounds(tmp_path):
    from PIL import Image

    from fashionseg.training.labelmaps import label_frequencies, loss_weights

    labels = np.zeros((40, 40), np.uint8)
    labels[:20] = 3
    Image.fromarray(labels).save(tmp_path / "a.png")
    shares = label_frequencies([{"label_map": str(tmp_path / "a.png"), "file_name": "a"}])
    assert shares == pytest.approx([0.5, 0, 0, 0.5])
    labels[1, 1] = 7
    labels[2] = 255
    drawn = Image.fromarray(labels)
    drawn.putpalette(list(range(255, -1, -1)) * 3)
    drawn.save(tmp_path / "palette.png")
    found = label_frequencies([{"label_map": str(tmp_path / "palette.png"), "file_name": "a"}])
    assert found == pytest.approx(np.array([20, 0, 0, 19 - 1 / 40, 0, 0, 0, 1 / 40]) / 39)
    Image.new("L", (4, 4), 255).save(tmp_path / "unknown.png")
    assert label_frequencies([{"label_map": str(tmp_path / "unknown.png"), "file_name": "a"}]).tolist() == [1]
    assert loss_weights(shares).tolist() == [1, 0, 0, 1]
    assert loss_weights(np.array([0.9799, 0.01, 0.01, 0.0001])).tolist() == pytest.approx([0.2, 1, 1, 3])
    assert label_frequencies([{"file_name": "a.jpg"}]).tolist() == [1], "garments alone teach"
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"b\.png"):
        label_frequencies([{"label_map": str(tmp_path / "b.png"), "file_name": "b"}])


def test_curves_of_an_empty_and_of_a_short_run(tmp_path):
    from fashionseg.training.curves import draw_curves, read_columns

    source, target = tmp_path / "metrics.csv", tmp_path / "curves.png"
    source.write_text("step,lr,total_loss,segm/AP\n")
    draw_curves(source, target)
    assert not target.exists()
    source.write_text("step,lr,total_loss,segm/AP\n1,0.1,2.5,\n2,0.1,2.0,12.5\n")
    assert read_columns(source)["segm/AP"][1] == 12.5
    draw_curves(source, target)
    assert target.read_bytes().startswith(b"\x89PNG")


def test_validation_figures_of_perfect_and_of_no_predictions(tiny_set):
    import torch
    from detectron2.structures import Boxes, Instances
    from pycocotools import mask as coco_mask

    from fashionseg.training.config import build_config
    from fashionseg.training.dataset import read_sets
    from fashionseg.training.recipe import read_recipe
    from fashionseg.training.validation import Validator

    data = read_sets([tiny_set[0]], [tiny_set[1]])
    validator = Validator(build_config(read_recipe("small"), data, "cpu"), data)

    class Oracle(torch.nn.Module):
        def __init__(self, knows):
            super().__init__()
            self.knows = knows

        def forward(self, batch):
            return [{"instances": self.answer(data.records[sample["image_id"]])} for sample in batch]

        def answer(self, record):
            found = record["annotations"] if self.knows else []
            instances = Instances((record["height"], record["width"]))
            boxes = torch.tensor([a["bbox"] for a in found], dtype=torch.float32).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            instances.pred_boxes = Boxes(boxes)
            instances.scores = torch.ones(len(found))
            instances.pred_classes = torch.tensor([a["category_id"] for a in found], dtype=torch.int64)
            masks = [coco_mask.decode(self.rle(a["segmentation"], record)) for a in found]
            shape = (0, record["height"], record["width"])
            instances.pred_masks = torch.tensor(np.array(masks).reshape(len(found), *shape[1:])).bool()
            return instances

        @staticmethod
        def rle(segmentation, record):
            if isinstance(segmentation, dict):
                return segmentation
            return coco_mask.merge(coco_mask.frPyObjects(segmentation, record["height"], record["width"]))

    oracle = Oracle(knows=True)
    figures = validator.measure(oracle)
    assert oracle.training
    assert figures["bbox/AP"] == pytest.approx(100)
    assert figures["segm/AP"] == pytest.approx(100)
    assert figures["segm/AP50-trousers"] == pytest.approx(100)
    assert validator.measure(Oracle(knows=False))["segm/AP"] == 0
    progress = []
    validator.measure(oracle, lambda done, total: progress.append((done, total)))
    photos = len(data.records)
    assert progress == [(done, photos) for done in range(1, photos + 1)]
