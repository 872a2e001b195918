"""The order of photos: as Detectron2 groups them, and the same from any step on."""

import itertools

import pytest

from fashionseg.training.dataset import read_sets
from fashionseg.training.recipe import read_recipe, with_overrides

from .conftest import TINY

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


def sampler(lying, batch_size, start=0, seed=3):
    from detectron2.data.samplers import TrainingSampler

    from fashionseg.training.sampling import ResumableSampler

    return ResumableSampler(TrainingSampler(len(lying), seed=seed), lying, batch_size, start)


def test_batches_are_those_of_detectron2s_grouping():
    from detectron2.data.common import AspectRatioGroupedDataset
    from detectron2.data.samplers import TrainingSampler

    lying = [i % 3 == 0 for i in range(20)]
    photos = ({"index": i, "width": 2 if lying[i] else 1, "height": 1.5} for i in TrainingSampler(20, seed=3))
    reference = [[p["index"] for p in b] for b in itertools.islice(AspectRatioGroupedDataset(photos, 4), 30)]
    ours = [index for index, _ in itertools.islice(sampler(lying, 4), 120)]
    assert [ours[i : i + 4] for i in range(0, 120, 4)] == reference


@pytest.mark.parametrize("start", [0, 1, 7, 40])
def test_it_can_start_at_any_batch(start):
    lying = [i % 4 == 0 for i in range(11)]
    whole = list(itertools.islice(sampler(lying, 3), 3 * 60))
    assert list(itertools.islice(sampler(lying, 3, start), 3 * 20)) == whole[3 * start : 3 * (start + 20)]


def test_every_position_comes_once():
    positions = [p for _, p in itertools.islice(sampler([i % 2 == 0 for i in range(9)], 4), 400)]
    assert len(set(positions)) == 400
    assert max(positions) < 400 + 2 * 4


def test_rare_classes_come_more_often(tiny_set):
    from fashionseg.training.config import build_config
    from fashionseg.training.sampling import endless_sampler

    data = read_sets([tiny_set[0]], [tiny_set[1]])
    rare = min((i for i, n in enumerate(data.instances()) if n), key=lambda i: data.instances()[i])
    cfg = build_config(with_overrides(read_recipe("modern"), [*TINY, "DATALOADER.REPEAT_THRESHOLD=0.9"]), data, "cpu")
    with_rare = [any(a["category_id"] == rare for a in r["annotations"]) for r in data.records]
    drawn = [with_rare[i] for i in itertools.islice(endless_sampler(cfg, data.records), 2000)]
    assert sum(drawn) / 2000 > 1.1 * sum(with_rare) / len(with_rare)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_same_photos_with_and_without_workers(workers, tiny_set):
    import torch

    from fashionseg.training.config import build_config
    from fashionseg.training.mapping import training_loader, training_mapper

    data = read_sets([tiny_set[0]], [tiny_set[1]])
    recipe = with_overrides(read_recipe("small"), [*TINY, f"DATALOADER.NUM_WORKERS={workers}"])
    cfg = build_config(recipe, data, "cpu", seed=2)
    mapper = training_mapper(cfg, recipe, (64, 64))
    got = list(itertools.islice(training_loader(cfg, data.records, mapper, 2, start_step=3), 3))
    order = list(itertools.islice(sampler_of(cfg, data), 12))[6:]
    wanted = [mapper(data.records[index], position) for index, position in order]
    for sample, expected in zip(itertools.chain.from_iterable(got), wanted, strict=True):
        assert sample["image_id"] == expected["image_id"]
        assert torch.equal(sample["image"], expected["image"])


def sampler_of(cfg, data):
    from fashionseg.training.sampling import ResumableSampler, endless_sampler

    lying = [r["width"] > r["height"] for r in data.records]
    return ResumableSampler(endless_sampler(cfg, data.records), lying, 2)


def test_photos_without_a_garment_are_left_out_where_the_recipe_says_so(tiny_set):
    from fashionseg.training.config import build_config
    from fashionseg.training.sampling import learnable

    data = read_sets([tiny_set[0]], [tiny_set[1]])
    data.records[1]["annotations"][0]["iscrowd"] = 1
    with_garment = [r for r in data.records if any(not a["iscrowd"] for a in r["annotations"])]
    assert len(with_garment) == 7
    for name, expected in (("deepfashion2", with_garment), ("modern", data.records), ("small", data.records)):
        cfg = build_config(with_overrides(read_recipe(name), TINY), data, device="cpu")
        assert learnable(cfg, data.records) == expected
