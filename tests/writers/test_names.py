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
    assert output_names(sources("clip.mp4", "clip/x.png")) == ["clip.mp4", "clip/x.jpg"]
    assert output_names(sources("clip.mp4", "clip/000001.png"), frames=True) == ["clip-2.mp4", "clip/000001.jpg"]


def test_no_file_has_the_name_of_a_folder():
    assert output_names(sources("x.png", "x.jpg/y.png")) == ["x-2.jpg", "x.jpg/y.jpg"]
    assert output_names(sources("clip.MP4/x.png", "clip.mp4")) == ["clip.MP4/x.jpg", "clip-2.mp4"]


def test_the_files_of_the_run_are_nobody_elses():
    outputs = output_names(
        sources("predictions.json/a.png", "Images.JSON/b.png", "failures.json/c.png", "d/images.json.png")
    )
    assert outputs == ["_predictions.json/a.jpg", "_Images.JSON/b.jpg", "_failures.json/c.jpg", "d/images.json.jpg"]


def test_a_name_of_dots_does_not_climb_without_its_suffix():
    for name in output_names(sources("...mp4", "..mp4", "a/...mp4", "....png")):
        assert ".." not in PurePosixPath(name).with_suffix("").parts, name
        assert PurePosixPath(name).with_suffix("").name not in ("", "."), name


def test_paths_a_thousand_folders_deep_are_cut_and_stay_apart():
    deep = "/".join(["folder"] * 1000)
    names = output_names(sources(f"{deep}/a.png", f"{deep}/b.png", f"other/{deep}/a.png"))
    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 1000 for name in names)
    assert PurePosixPath(names[0]).parent == PurePosixPath(names[1]).parent != PurePosixPath(names[2]).parent


def test_many_equal_names_take_no_time():
    names = output_names(sources(*["cover.jpg"] * 30_000))
    assert len(set(names)) == 30_000


def test_climbing_and_absolute_names_stay_inside():
    for name in output_names(
        sources("../../etc/passwd.png", "/root/a.png", "a/../../b.png", "..", ".fashionseg/x.png")
    ):
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path.parts[0] != ".fashionseg"


PARTS = st.sampled_from(
    ["a", "A", "b", "..", ".", "...mp4", "a.jpg", "a.mp4", "a-2.jpg", "predictions.json", "\udcff", "ß"]
)
NAMES = st.one_of(st.text(min_size=1, max_size=300), st.lists(PARTS, min_size=1, max_size=4).map("/".join))


@given(st.lists(NAMES, max_size=12), st.booleans())
def test_any_names_give_unique_paths_inside_that_file_systems_take(names, frames):
    listed = [Source(i, Path("x"), name, "video" if i % 3 == 2 else "photo") for i, name in enumerate(names)]
    outputs = output_names(listed, frames=frames)
    assert len({output.casefold() for output in outputs}) == len(names)
    files = {output.casefold() for output in outputs}
    folders = {str(folder).casefold() for output in outputs for folder in PurePosixPath(output).parents}
    assert not files & folders, "a file and a folder of one name"
    if frames:
        stems = {output[:-4].casefold() for output in outputs if output.endswith(".mp4")}
        assert not stems & (files | folders), "frames among files of others"
    for output in outputs:
        path = PurePosixPath(output)
        assert not path.is_absolute() and ".." not in path.parts and "\0" not in output
        assert all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in path.parts)


def test_long_names_are_cut_and_stay_apart():
    names = output_names(sources("x" * 255 + ".png", "x" * 254 + "y.png"))
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 255 for name in names)
