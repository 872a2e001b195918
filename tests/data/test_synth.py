"""Drawn pictures and the drawn clip: determinism, exact masks, variety, files."""

import json

import av
import cv2
import numpy as np
import pytest

from fashionseg.data.coco import read_coco
from fashionseg.data.segmentation import instance_mask
from fashionseg.data.synth import CLASS_NAMES, SynthOptions, draw_scene, write_synth
from fashionseg.data.synth.backdrop import KINDS, draw_backdrop
from fashionseg.data.synth.body import Arm, Body, Leg, Pose, joints
from fashionseg.data.synth.canvas import NOBODY, Canvas, random_light
from fashionseg.data.synth.film import FPS, draw_video_frames, make_film
from fashionseg.data.synth.surfaces import Patch, column, tube, union
from fashionseg.data.synth.video import soundtrack, write_clip
from fashionseg.errors import OutputError

SIZE = (160, 120)


def scenes(count, seed=0, **options):
    return [draw_scene(np.random.default_rng([seed, k]), SIZE, **options) for k in range(count)]


def test_the_same_seed_gives_the_same_picture_and_another_another():
    first, again = scenes(3), scenes(3)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image)
        assert [label for label, _ in a.instances] == [label for label, _ in b.instances]
        assert all(np.array_equal(x, y) for (_, x), (_, y) in zip(a.instances, b.instances, strict=True))
    assert not np.array_equal(first[0].image, first[1].image)
    assert not np.array_equal(first[0].image, scenes(1, seed=1)[0].image)


def test_masks_are_disjoint_and_pictures_are_pictures():
    for scene in scenes(6):
        assert scene.image.shape == (*SIZE, 3) and scene.image.dtype == np.uint8
        assert scene.image.std() > 5, "a picture of one colour"
        total = np.zeros(SIZE, np.int32)
        for label, mask in scene.instances:
            assert 0 <= label < len(CLASS_NAMES) and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
            total += mask
        assert total.max(initial=0) <= 1, "two garments own one pixel"


def test_all_five_classes_and_empty_pictures_come_up():
    drawn = [draw_scene(np.random.default_rng([2, k]), (80, 60)) for k in range(60)]
    counts = np.bincount([label for scene in drawn for label, _ in scene.instances], minlength=5)
    assert counts.min() >= 5, f"instances of each class in 60 pictures: {counts.tolist()}"
    assert 1 <= sum(not scene.instances for scene in drawn) <= 20
    assert all(not scene.instances for scene in scenes(4, people=0))
    assert all(not scene.instances for scene in scenes(4, empty_share=1.0))


def test_in_plain_pictures_everybody_shows_one_garment_above_and_one_below():
    drawn = scenes(40, seed=3, empty_share=0.0, plain=True)
    for scene in drawn:
        top, bottom = sorted(label for label, _ in scene.instances)
        assert top < CLASS_NAMES.index("shorts") <= bottom
        rows = np.flatnonzero(np.any([mask.any(1) for _, mask in scene.instances], axis=0))
        assert rows[0] > 0 and rows[-1] < SIZE[0] - 1, "cut by the frame"
        assert all(mask.sum() > 0.004 * mask.size for _, mask in scene.instances), "a sliver"
    counts = np.bincount([label for scene in drawn for label, _ in scene.instances], minlength=5)
    assert counts.min() >= 4, f"instances of each class in 40 pictures: {counts.tolist()}"


def test_masks_lie_on_what_is_drawn():
    """A picture with a person and the same picture without differ inside the masks and (shadows apart) not outside."""
    for seed in range(4):
        light, backdrop = random_light(np.random.default_rng(seed)), draw_backdrop(np.random.default_rng(seed), SIZE)
        from fashionseg.data.synth.figure import draw_figure
        from fashionseg.data.synth.people import random_person, random_pose

        rng, labels = np.random.default_rng([9, seed]), []
        canvas = Canvas(backdrop.image, light)
        draw_figure(canvas, random_person(rng), random_pose(rng), (60, 150), 130, labels)
        changed = np.abs(canvas.image - backdrop.image).max(2) > 1e-4
        owned = canvas.owner != NOBODY
        assert owned.any() and (changed & owned).sum() >= 0.97 * owned.sum()
        assert not (owned & (canvas.figure < 0.5)).any(), "a garment where the figure is not"


@pytest.mark.parametrize("kind", KINDS)
def test_every_backdrop_draws_at_odd_sizes(kind):
    for size in ((97, 131), (64, 40)):
        backdrop = draw_backdrop(np.random.default_rng(0), size, kind)
        assert backdrop.image.shape == (*size, 3) and np.isfinite(backdrop.image).all() and backdrop.image.min() > 0


def test_a_tube_and_a_column_have_the_area_of_their_rectangles():
    patch = Patch(0, 0, 60, 80)
    line = np.array([[30, 10, 0], [30, 40, 0], [30, 70, 0]], np.float32)
    straight = tube(patch, line, np.full(3, 8, np.float32), flat_start=True, flat_end=True)
    assert straight.alpha.sum() == pytest.approx(16 * 60, rel=0.02)
    assert straight.along[40, 30] == pytest.approx(30.5, abs=0.6) and straight.height.max() == pytest.approx(8, abs=0.1)
    assert straight.angle[40, 33] > 0 > straight.angle[40, 26]
    rows = np.array([[10, 30, 12, 6, 0], [70, 30, 12, 6, 0]], np.float32)
    box = column(patch, rows, hem_tilt=0)
    assert box.alpha.sum() == pytest.approx(24 * 60, rel=0.02)
    both = union([straight, box])
    assert np.array_equal(both.alpha, np.maximum(straight.alpha, box.alpha)) and both.height[40, 30] > 7.5


def test_a_turned_body_keeps_its_height_and_loses_breadth():
    pose = Pose(arms=(Arm(), Arm()), legs=(Leg(0.0), Leg(0.0)))
    front = joints(Body(), pose, (100, 400), 300)
    side = joints(Body(), Pose(np.pi / 2, arms=pose.arms, legs=pose.legs), (100, 400), 300)
    assert front.head[1] == pytest.approx(side.head[1], abs=2)
    assert (
        abs(front.shoulders[0][0] - front.shoulders[1][0]) > 50 > 5 > abs(side.shoulders[0][0] - side.shoulders[1][0])
    )
    assert front.ankles[0][1] == pytest.approx(400 - 0.04 * 300, abs=1)


def test_a_folder_of_pictures_is_a_sound_coco_set(tmp_path):
    told = []
    data = write_synth(tmp_path / "one", SynthOptions(6, SIZE, seed=4), progress=told.append)
    assert told == [1, 2, 3, 4, 5, 6]
    read = read_coco(tmp_path / "one" / "annotations.json", need_instances=True)
    assert read.images == data.images and read.instances == data.instances and read.class_names == CLASS_NAMES
    assert read.category_ids == (1, 2, 3, 4, 5)
    for image in read.images:
        photo = cv2.imread(str(tmp_path / "one" / "images" / image.file_name))
        assert photo.shape[:2] == image.size_hw == SIZE
    scene = draw_scene(np.random.default_rng([4, 2]), SIZE)
    masks = [instance_mask(instance, SIZE) for instance in read.instances_of[3]]
    assert [m.area for m in masks] == [int(mask.sum()) for _, mask in scene.instances]
    assert [i.category_id - 1 for i in read.instances_of[3]] == [label for label, _ in scene.instances]


def test_processes_change_nothing_and_a_full_folder_is_refused(tmp_path):
    for name, processes in (("a", 1), ("b", 2)):
        write_synth(tmp_path / name, SynthOptions(4, (64, 64)), processes=processes)
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    with pytest.raises(OutputError, match="is not empty"):
        write_synth(tmp_path / "a", SynthOptions(1, (64, 64)))


def test_the_film_moves_and_shows_all_five_classes():
    film = make_film(5)
    first, later = film.frame(0), film.frame(100)
    assert {label for label, _ in later.instances} == {0, 1, 2, 3, 4}
    assert np.abs(first.image.astype(int) - later.image).mean() > 3
    drawn = next(iter(draw_video_frames(5, 1)))
    assert np.array_equal(drawn.image, first.image)


def test_a_clip_has_pictures_sound_and_labels(tmp_path):
    assert write_clip(tmp_path / "clip.mp4", seed=5, frames=3, labels=tmp_path / "clip.json") == 3
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        video, audio = clip.streams.video[0], clip.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        frames = [frame.to_ndarray(format="bgr24") for frame in clip.decode(video)]
    assert len(frames) == 3
    expected = make_film(5).frame(2).image
    assert np.abs(frames[2].astype(int) - expected).mean() < 4
    labels = read_coco(tmp_path / "clip.json")
    assert [i.extra["frame_index"] for i in labels.images] == [0, 1, 2] and len(labels.instances) > 10


def test_the_sound_is_soft_and_not_silent():
    sound = soundtrack(7.0)
    assert sound.shape == (2, 7 * 44_100) and 0.1 < np.abs(sound).max() < 0.9
    assert np.abs(sound[:, 0]).max() == 0 and np.abs(sound[:, -1]).max() < 1e-3


def test_the_example_clip_is_this_film():
    from pathlib import Path

    clip = Path(__file__).parents[2] / "examples" / "clip.mp4"
    if not clip.exists():
        pytest.skip("the examples are not beside the tests")
    assert clip.stat().st_size < 500_000
    with av.open(str(clip)) as container:
        assert container.streams.audio and container.streams.video[0].average_rate == FPS
        for index, frame in enumerate(container.decode(video=0)):
            if index == 60:
                picture = frame.to_ndarray(format="bgr24")
        assert index + 1 == 7 * FPS
    expected = make_film(5).frame(60).image
    assert np.abs(picture.astype(int) - expected).mean() < 4, "draw examples/clip.mp4 anew: the film has changed"


def test_options_of_scenes():
    from fashionseg.cli.data.synth import BACKDROPS

    assert set(BACKDROPS) == set(KINDS)
    for scene in scenes(8, most=1, kind="studio", empty_share=0.0):
        assert scene.kind == "studio" and len(scene.instances) <= 3


def test_options_are_written_down(tmp_path):
    write_synth(tmp_path / "a", SynthOptions(1, (64, 64), seed=77))
    assert json.loads((tmp_path / "a" / "annotations.json").read_text())["info"]["seed"] == 77
