"""Names of outputs: unique, safe, readable."""

from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from fashionseg.media.frame import Source
from fashionseg.writers.names import output_names


def sources(*names):
    return [
        Source(index, Path(name), name, "video" if name.endswith((".mp4", ".mov", ".mkv")) else "photo")
        for index, name in enumerate(names)
    ]


def test_plain_names_change_their_suffix():
    assert output_names(sources("a.png", "b/c.jpeg", "d.mov")) == ["a.jpg", "b/c.jpg", "d.mp4"]


def test_names_that_collide_keep_their_own_suffix():
    assert output_names(sources("a.png", "a.jpg", "b.png")) == ["a.png.jpg", "a.jpg.jpg", "b.jpg"]


def test_names_that_collide_still_get_a_number():
    assert output_names(sources("a.png", "a.png")) == ["a.png.jpg", "a.png-2.jpg"]


def test_case_does_not_tell_names_apart():
    names = output_names(sources("A.png", "a.PNG"))
    assert len({name.casefold() for name in names}) == 2


def test_a_videos_frames_have_a_folder_of_their_own():
    assert output_names(sources("clip.mp4", "clip.mov")) == ["clip.mp4.mp4", "clip.mov.mp4"]
    names = output_names(sources("clip.mp4", "clip.mp4/x.png"))
    assert names[0] == "clip.mp4"


def test_climbing_and_absolute_names_stay_inside():
    for name in output_names(
        sources("../../etc/passwd.png", "/root/a.png", "a/../../b.png", "..", ".fashionseg/x.png")
    ):
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path.parts[0] != ".fashionseg"


@given(st.lists(st.text(min_size=1, max_size=300), max_size=12))
def test_any_names_give_unique_paths_inside_that_file_systems_take(names):
    listed = [Source(i, Path("x"), name, "video" if i % 3 == 2 else "photo") for i, name in enumerate(names)]
    outputs = output_names(listed)
    assert len({output.casefold() for output in outputs}) == len(names)
    for output in outputs:
        path = PurePosixPath(output)
        assert not path.is_absolute() and ".." not in path.parts and "\0" not in output
        assert all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in path.parts)


def test_long_names_are_cut_and_stay_apart():
    names = output_names(sources("x" * 255 + ".png", "x" * 254 + "y.png"))
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 255 for name in names)
