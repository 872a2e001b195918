"""Augmentation: photo, mask and coordinates move together; randomness is a function of seed and position."""

# ruff: noqa: NPY002 - Detectron2's augmentations draw from numpy's global generator, so ours must

import numpy as np
import pytest

from fashionseg.errors import DataError
from fashionseg.training.dataset import read_sets
from fashionseg.training.recipe import Augmentation, read_recipe, with_overrides

from .conftest import TINY, make_set

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


def warped(rule, image, seed):
    from fashionseg.training.augment import RandomWarp

    np.random.seed(seed)
    return RandomWarp(rule, rule.canvas_hw).get_transform(image)


def test_a_warp_without_chance_is_a_resize():
    """A 100 x 50 photo on a 50 x 25 canvas: every pixel is the mean of 2 x 2, the point 10, 20 comes to 5, 10."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (100, 50, 3)).astype(np.uint8)
    transform = warped(Augmentation(method="warp", canvas_hw=(50, 32), flip=0), np.zeros((100, 64, 3), np.uint8), 0)
    assert transform.matrix == pytest.approx(np.array([[0.5, 0, 0], [0, 0.5, 0]]))
    assert transform.apply_coords(np.array([[10.0, 20.0]])) == pytest.approx(np.array([[5.0, 10.0]]))
    out = transform.apply_image(np.full((100, 64, 3), 77, np.uint8))
    assert out.shape == (50, 32, 3)
    assert (out == 77).all()
    assert image.shape == (100, 50, 3)


@pytest.mark.parametrize("seed", range(8))
def test_photo_mask_and_coordinates_agree(seed):
    """The centre of a bright square, found in the warped photo, in the warped mask and by its coordinates."""
    rule = Augmentation(method="warp", canvas_hw=(160, 120), scale=(0.5, 0.9), rotation=20, flip=0.5)
    image, mask = np.zeros((300, 220, 3), np.uint8), np.zeros((300, 220), np.uint8)
    image[100:140, 90:130] = 255
    mask[100:140, 90:130] = 1
    transform = warped(rule, image, seed)
    expected = transform.apply_coords(np.array([[110.0, 120.0]]))[0]
    bright = transform.apply_image(image)[..., 0].astype(float)
    bright[(bright > 95) & (bright < 130)] = 0  # the border's colour
    for plane in (np.where(bright > 128, 1.0, 0.0), transform.apply_segmentation(mask).astype(float)):
        ys, xs = np.nonzero(plane)
        found = np.array([xs.mean() + 0.5, ys.mean() + 0.5])
        assert np.abs(found - expected).max() < 0.75, f"{found} instead of {expected}"


def test_a_lying_photo_gets_a_lying_canvas():
    rule = Augmentation(method="warp", canvas_hw=(160, 120))
    assert warped(rule, np.zeros((30, 60, 3), np.uint8), 0).canvas_hw == (120, 160)
    assert warped(rule, np.zeros((60, 30, 3), np.uint8), 0).canvas_hw == (160, 120)


def test_shrinking_does_not_alias():
    """A one-pixel chequerboard shrunk eightfold is grey, as it is at inference."""
    image = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    transform = warped(Augmentation(method="warp", canvas_hw=(64, 64), flip=0, rotation=5), image, 3)
    inner = transform.apply_image(image)[8:-8, 8:-8].astype(int)
    assert np.abs(inner - 127).max() <= 2


def test_colours_stay_without_a_rule_and_greys_stay_grey():
    from fashionseg.training.augment import RandomColour

    image = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    assert (RandomColour(Augmentation()).get_transform(image).apply_image(image) == image).all()
    np.random.seed(0)
    transform = RandomColour(Augmentation(hue=20, saturation=0.5)).get_transform(image)
    grey = np.full((4, 4, 3), 90, np.uint8)
    assert np.abs(transform.apply_image(grey).astype(int) - 90).max() <= 1
    assert (transform.apply_image(image) != image).any()


def test_cut_out_paints_one_rectangle():
    from fashionseg.training.augment import RandomColour

    np.random.seed(0)
    image = np.zeros((100, 80, 3), np.uint8)
    painted = RandomColour(Augmentation(cutout=1.0)).get_transform(image).apply_image(image).any(2)
    ys, xs = np.nonzero(painted)
    assert painted[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].all()
    assert 0.005 < painted.mean() < 0.15


def mapper_for(tiny_set, name, extra=(), seed=7):
    from fashionseg.training.config import build_config
    from fashionseg.training.mapping import training_mapper

    recipe = with_overrides(read_recipe(name), [*TINY, *extra])
    data = read_sets([tiny_set[0]], [tiny_set[1]])
    cfg = build_config(recipe, data, device="cpu", seed=seed)
    return training_mapper(cfg, recipe, recipe.augmentation.canvas_hw), data, cfg


@pytest.mark.parametrize("name", ["deepfashion2", "modern", "small"])
def test_a_sample_depends_on_seed_and_position_alone(name, tiny_set):
    mapper, data, _ = mapper_for(tiny_set, name)
    record = next(r for r in data.records if len(r["annotations"]) == 2)
    before = np.random.get_state()[1].copy()
    first, again, other = mapper(record, 4), mapper(record, 4), [mapper(record, p) for p in range(5, 12)]
    assert (first["image"] == again["image"]).all()
    assert (first["instances"].gt_boxes.tensor == again["instances"].gt_boxes.tensor).all()
    assert any(o["image"].shape != first["image"].shape or (o["image"] != first["image"]).any() for o in other)
    assert (np.random.get_state()[1] == before).all(), "the global generator is left as it was"


def test_a_photo_without_garments_is_a_sample(tiny_set):
    mapper, data, _ = mapper_for(tiny_set, "small")
    record = next(r for r in data.records if not r["annotations"])
    sample = mapper(record, 0)
    assert len(sample["instances"]) == 0
    assert sample["image"].shape == (3, 64, 64)


def test_boxes_fit_the_warped_masks(tiny_set):
    mapper, data, _ = mapper_for(tiny_set, "small", ["augmentation.scale=[0.8, 1.0]", "augmentation.rotation=25"])
    for position, record in enumerate(r for r in data.records if r["annotations"]):
        instances = mapper(record, position)["instances"]
        assert (instances.gt_masks.get_bounding_boxes().tensor == instances.gt_boxes.tensor).all()


def test_exif_orientation_turns_the_photo(tmp_path):
    """Stored lying with the tag "turn left": Detectron2 reads it upright, as the annotations are."""
    import json

    from PIL import Image

    path, folder = make_set(tmp_path, 2, seed=1)
    name = json.loads(path.read_text())["images"][1]["file_name"]
    upright = Image.open(folder / name)
    exif = upright.getexif()
    exif[0x0112] = 8
    upright.transpose(Image.Transpose.ROTATE_270).save(folder / name, exif=exif)
    mapper, data, _ = mapper_for((path, folder), "small")
    assert mapper(data.records[1], 0)["image"].shape == (3, 64, 64)


def test_labels_of_a_palette_are_its_indices(tmp_path):
    from PIL import Image

    from fashionseg.training.config import build_config
    from fashionseg.training.mapping import training_mapper

    path, folder = make_set(tmp_path, 2, seed=1, label_maps=True)
    recipe = with_overrides(read_recipe("deepfashion2"), [*TINY, "INPUT.RANDOM_FLIP=none", "INPUT.MIN_SIZE_TRAIN=[80]"])
    data = read_sets([path], [folder], labels="labels")
    mapper = training_mapper(build_config(recipe, data, device="cpu"), recipe, (64, 64))
    grey = mapper(data.records[1], 0)["sem_seg"]
    assert len(grey.unique()) == 2
    file = tmp_path / "labels" / "1_1.png"
    with Image.open(file) as opened:
        drawn = opened.copy()
    drawn.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 0, 0, 90, 90])
    drawn.save(file)
    assert (mapper(data.records[1], 0)["sem_seg"] == grey).all()
    drawn.resize((9, 9)).save(file)
    with pytest.raises(DataError, match=r"the label map .*1_1\.png is 9x9 pixels, its photo 60x80"):
        mapper(data.records[1], 0)
