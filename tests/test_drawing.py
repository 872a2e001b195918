"""What is drawn, where, in which colours; name tags; pictures too small for any of it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionseg import tags
from fashionseg.detections import Detections
from fashionseg.drawing import PARTS, Annotator
from fashionseg.masks import paste_masks
from fashionseg.palette import class_color, relative_luminance, text_color
from fashionseg.tags import place_tags, render_tag

NAMES = ("short_sleeved_shirt", "trousers", "衬衫", "пальто", "", "a name as long as a name can reasonably be")
FULL = np.ones((28, 28), np.float32)


def detections_of(boxes, size_hw, labels=None, masks=None):
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.linspace(0.99, 0.5, n, dtype=np.float32),
        np.zeros(n, np.int32) if labels is None else np.array(labels, np.int32),
        np.array([FULL] * n if masks is None else masks, np.float32).reshape(n, 28, 28),
        size_hw,
    )


def drawn(image, detections, hide=()):
    result = image.copy()
    Annotator(NAMES, hide=hide).draw(result, detections, paste_masks(detections))
    return result


def grey(height, width, value=128):
    return np.full((height, width, 3), value, np.uint8)


def test_nothing_found_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    image.flags.writeable = False
    Annotator(NAMES).draw(image, Detections.empty((40, 50)), [])


def test_hidden_parts_leave_the_picture_alone():
    detections = detections_of([[20, 40, 120, 180]], (200, 160))
    image = grey(200, 160)
    assert np.array_equal(drawn(image, detections, hide=PARTS), image)
    changed = {part: (drawn(image, detections, hide=PARTS - {part}) != image).any(axis=2) for part in PARTS}
    assert all(where.any() for where in changed.values())
    assert not changed["boxes"][60:100, 40:100].any(), "a box is a line, not an area"
    assert changed["masks"][60:100, 40:100].all()


def test_unknown_part():
    with pytest.raises(ValueError, match="cannot hide outlines; choose from boxes, labels, masks"):
        Annotator(NAMES, hide={"outlines"})


def test_tint_by_hand():
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    result = drawn(image, detections_of([[100, 100, 200, 200]], (300, 300)), hide={"boxes", "labels"})
    inside = np.s_[110:190, 110:190]
    expected = 0.6 * image[inside] + 0.4 * np.array(class_color(0))
    difference = np.abs(result[inside] - expected)
    assert difference.max() <= 1, f"largest {difference.max()}, mean {difference.mean()}"
    away = np.ones((300, 300), bool)
    away[96:204, 96:204] = False
    assert np.array_equal(result[away], image[away])


def test_outline_has_the_full_color_and_follows_the_mask():
    image = grey(1080, 1920, 0)
    result = drawn(image, detections_of([[600, 300, 1200, 900]], (1080, 1920)), hide={"boxes", "labels"})
    line = np.flatnonzero((result[600] == class_color(0)).all(axis=1))
    assert line.min() in range(598, 602), line
    assert line.max() in range(1198, 1202), line
    assert 4 <= len(line) <= 10, f"two lines of about three pixels, not {len(line)} pixels"


def test_holes_are_outlined_too():
    ring = FULL.copy()
    ring[8:20, 8:20] = 0
    detections = detections_of([[150, 150, 1050, 1050]], (1200, 1200), masks=[ring])
    result = drawn(grey(1200, 1200, 0), detections, hide={"labels", "boxes"})
    assert not result[600, 600].any(), "the hole is not tinted"
    colored = np.flatnonzero((result[600] == class_color(0)).all(axis=1))
    hole = 150 + 8 * 900 / 28  # between the last cell of 1 and the first of 0 the half lies at their border
    assert np.abs(colored - hole).min() <= 2, colored


def test_small_garments_stay_visible():
    boxes, labels = [[100, 100, 200, 200], [50, 50, 350, 350]], [1, 0]
    once = drawn(grey(400, 400), detections_of(boxes, (400, 400), labels), hide={"boxes", "labels"})
    turned = drawn(grey(400, 400), detections_of(boxes[::-1], (400, 400), labels[::-1]), hide={"boxes", "labels"})
    assert np.array_equal(once, turned), "the order of scores does not decide what lies on top"
    large = 0.6 * 128 + 0.4 * np.array(class_color(0))
    expected = 0.6 * large + 0.4 * np.array(class_color(1))
    assert np.abs(once[150, 150] - expected).max() <= 2


def test_lines_and_text_grow_with_the_picture():
    def measured(side):
        box = [side * 0.3, side * 0.3, side * 0.7, side * 0.7]
        detections = detections_of([box], (side, side), labels=[1])
        mask = drawn(grey(side, side, 0), detections, hide={"boxes", "labels"})
        line = (mask[side // 2] == class_color(1)).all(axis=1).sum()
        tag = drawn(grey(side, side, 0), detections, hide={"boxes", "masks"}).any(axis=(1, 2)).sum()
        return line, tag

    lines, heights = zip(*(measured(side) for side in (320, 1440, 2880)), strict=True)
    assert lines[0] < lines[1] < lines[2], lines
    assert heights[0] >= 15, "readable on a small photo"
    assert heights[0] < heights[1] < heights[2], heights
    assert heights[2] == pytest.approx(2 * heights[1], rel=0.1), heights


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(1, 1), (1, 500), (500, 1), (2, 3), (15, 40), (90, 90), (40, 300)]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 6),
    st.sets(st.sampled_from(sorted(PARTS))),
)
def test_any_picture_any_boxes(size_hw, seed, count, hide):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-0.5, 1.2, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.001, 1, (count, 2))], axis=1) * (size_hw[::-1] * 2)
    detections = detections_of(boxes, size_hw, rng.integers(0, len(NAMES), count), rng.random((count, 28, 28)))
    drawn(grey(*size_hw), detections.scaled_to(size_hw), hide)
    drawn(grey(*size_hw), detections, hide)


def test_threads_share_an_annotator():
    detections = detections_of([[20, 40, 120, 180], [60, 30, 150, 90]], (200, 160), [1, 2])
    annotator = Annotator(NAMES)
    pasted = paste_masks(detections)

    def draw(_):
        image = grey(200, 160)
        annotator.draw(image, detections, pasted)
        return image

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(draw, range(40)))
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_tag_shows_name_and_score():
    image = grey(200, 200, 0)
    tag = render_tag("short sleeved shirt", "99%", class_color(0), 12)
    height, width = tag.size_hw
    box = [20, 60, 180, 180]
    for hide, corner in [({"masks"}, (20, 60 - height)), ({"boxes", "masks"}, (100 - width / 2, 120 - height / 2))]:
        result = drawn(image, detections_of([box], (200, 200)), hide)
        x, y = map(round, corner)
        by_hand = image.copy()
        tag.paint(by_hand, x, y)
        assert np.array_equal(result[y : y + height, x : x + width], by_hand[y : y + height, x : x + width]), hide


def test_notes_stand_in_for_scores():
    detections = detections_of([[20, 60, 180, 180]], (200, 200))
    pasted = paste_masks(detections)
    pictures = []
    for notes in (None, ["99%"], ["missed"]):
        picture = grey(200, 200)
        Annotator(NAMES).draw(picture, detections, pasted, notes)
        pictures.append(picture)
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    with pytest.raises(ValueError, match="zip"):
        Annotator(NAMES).draw(picture, detections, pasted, ["one", "too many"])


def test_tag_is_round_and_opaque():
    tag = render_tag("trousers", "97%", class_color(1), 24)
    corners = tag.clear[[0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert (corners > 200).all(), f"corners show the picture: {corners}"
    assert not tag.clear[:, 20:-20].any()
    colors = {tuple(pixel) for pixel in tag.color[:, 20:-20].reshape(-1, 3).tolist()}
    assert class_color(1) in colors
    assert text_color(class_color(1)) in colors


def test_letters_the_brought_font_lacks_come_from_the_system(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    choose = tags._legible.__wrapped__  # past the cache
    monkeypatch.setattr(tags, "_SYSTEM_FONTS", ())
    assert choose("пальто", 20)[1].getname()[0] != "DejaVu Sans"
    assert choose("jupe évasée", 20)[0] == "jupe evasee"
    fonts = ("no such font.ttf", f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    monkeypatch.setattr(tags, "_SYSTEM_FONTS", fonts)
    for text, family in [("пальто", "DejaVu Sans"), ("jupe évasée", "DejaVu Sans"), ("trousers 97%", "Aileron")]:
        found = choose(text, 20)
        assert (found[0], found[1].getname()[0]) == (text, family)
    assert choose("衬衫", 20)[0] == "衬衫", "no font has it: boxes, but no crash"


def test_tags_by_hand():
    # both want (10, 30); the second gives way by the shortest distance, upwards
    places = place_tags([(10, 30), (15, 30)], [(20, 60), (20, 60)], (200, 200))
    assert places == [(10, 30, 70, 50), (15, 9, 75, 29)]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_tags_stay_inside(count, seed):
    rng = np.random.default_rng(seed)
    homes = [tuple(home) for home in rng.integers(-100, 500, (count, 2)).tolist()]
    sizes = [tuple(size) for size in rng.integers(1, 100, (count, 2)).tolist()]
    for x0, y0, x1, y1 in place_tags(homes, sizes, (300, 400)):
        assert 0 <= x0 < x1 <= 400
        assert 0 <= y0 < y1 <= 300


def test_tags_avoid_each_other_where_there_is_room():
    homes = [(100 + i, 100 + 2 * i) for i in range(12)]
    places = np.array(place_tags(homes, [(20, 90)] * 12, (1080, 1920)))
    for i, a in enumerate(places):
        for b in places[:i]:
            assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1]), (a, b)


def contrast(one, other):
    dark, light = sorted((relative_luminance(one), relative_luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_text_is_readable_on_every_color():
    worst = min(contrast(class_color(i), text_color(class_color(i))) for i in range(200))
    assert worst > 3, f"WCAG contrast {worst}"


def test_colors_stay_and_differ():
    assert class_color(0) == (255, 155, 47)
    assert len({class_color(i) for i in range(100)}) == 100
    assert all(0 <= value <= 255 for i in range(300) for value in class_color(i))


# Machado, Oliveira and Fernandes (2009), severity 1.0, for linear RGB
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
# https://bottosson.github.io/posts/oklab/
LINEAR_TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
LMS_TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("classes, least", [(5, 0.12), (8, 0.1), (13, 0.06)])
def test_colors_are_told_apart(sight, classes, least):
    rgb = np.array([class_color(i)[::-1] for i in range(classes)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SIGHT[sight]).T, 0, 1)
    oklab = np.cbrt(seen @ np.array(LINEAR_TO_LMS).T) @ np.array(LMS_TO_OKLAB).T
    distance = np.linalg.norm(oklab[:, None] - oklab[None], axis=2) + np.eye(classes)
    pair = np.unravel_index(distance.argmin(), distance.shape)
    assert distance.min() >= least, f"classes {pair} differ by {distance.min():.3f} for {sight}"
