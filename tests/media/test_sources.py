"""Finding inputs: order, names, duplicates, exclusions, and what is wrong with the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionseg.media.sources import find_sources, kind_by_content, natural_key

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
MP4 = b"\x00\x00\x00\x20ftypisom" + b"\0" * 400
HEIC = b"\x00\x00\x00\x20ftypheic" + b"\0" * 20
TRANSPORT_STREAM = (b"\x47" + b"\0" * 187) * 3


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "photo10.jpg": JPEG,
        "photo2.JPG": JPEG,
        "photo1.png": PNG,
        "clip.mp4": MP4,
        "notes.txt": b"hello",
        ".hidden.jpg": JPEG,
        "day 2/b.webp": JPEG,
        "day 2/a.mov": MP4,
        "day 10/a.tiff": JPEG,
        "nosuffix": JPEG,
        "code.ts": b"export const a = 1;\n" * 40,
        "film.ts": TRANSPORT_STREAM,
    }
    for name, data in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "in"


def names(found):
    return [s.name for s in found.sources]


def test_folder_is_read_in_natural_order_with_relative_names(tree):
    found = find_sources([tree])
    assert names(found) == [
        "clip.mp4",
        "day 2/a.mov",
        "day 2/b.webp",
        "day 10/a.tiff",
        "film.ts",
        "nosuffix",
        "photo1.png",
        "photo2.JPG",
        "photo10.jpg",
    ]
    assert [s.index for s in found.sources] == list(range(9))
    assert [s.kind for s in found.sources] == ["video", "video"] + ["photo"] * 2 + ["video"] + ["photo"] * 4
    assert found.skipped == 3  # notes.txt, code.ts, .hidden.jpg
    assert not found.problems


def test_order_of_arguments_and_duplicates(tree):
    link = tree.parent / "link.jpg"
    link.symlink_to(tree / "photo2.JPG")
    found = find_sources([tree / "photo10.jpg", str(tree), link, str(tree / "." / "clip.mp4")])
    assert names(found)[0] == "photo10.jpg"
    assert names(found).count("photo10.jpg") == 1
    assert "link.jpg" not in names(found)
    assert not found.problems


def test_a_folder_given_twice_is_no_problem(tree):
    assert not find_sources([tree, tree]).problems


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["photo10.jpg"]),
        ("photo?.*", ["photo1.png", "photo2.JPG"]),
        ("**/*.tiff", ["day 10/a.tiff"]),
        ("day*", ["day 2/a.mov", "day 2/b.webp", "day 10/a.tiff"]),
        ("day */a.*", ["day 2/a.mov", "day 10/a.tiff"]),
        ("day*/../photo1.png", ["day 2/photo1.png"]),
    ],
)
def test_globs(tree, pattern, expected):
    found = find_sources([f"{tree}/{pattern}"])
    assert not found.problems
    if ".." in pattern:
        assert len(found.sources) == 1
        assert ".." not in names(found)[0]
    else:
        assert names(found) == expected


def test_double_star_finds_what_the_folder_finds(tree):
    assert sorted(names(find_sources([f"{tree}/**"]))) == sorted(names(find_sources([tree])))


def test_relative_glob(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names(find_sources(["*.mp4"])) == ["clip.mp4"]
    monkeypatch.chdir(tree / "day 2")
    assert names(find_sources(["../*.mp4"])) == ["clip.mp4"]
    assert names(find_sources([".."]))[0] == "clip.mp4"


def test_a_name_with_wildcards_that_exists_is_taken_literally(tree):
    (tree / "a[1].jpg").write_bytes(JPEG)
    assert names(find_sources([tree / "a[1].jpg"])) == ["a[1].jpg"]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("missing.jpg", "no such file or folder"),
        ("nothing*.jpg", "nothing matches it"),
        ("*.txt", "matches no photo or video (1 other file skipped)"),
        ("notes.txt", "neither a photo"),
        ("empty", "no photo or video in this folder"),
        ("zero.bin", "is empty (0 bytes)"),
        ("phone", "HEIF"),
        ("https://example.com/a.mp4", "opens no network connection"),
        ("pipe", "not a regular file"),
        ("nul\0l.jpg", "no such file"),
    ],
)
def test_problems_name_the_argument_and_the_reason(tree, monkeypatch, argument, reason):
    monkeypatch.chdir(tree)
    Path("empty").mkdir()
    Path("zero.bin").write_bytes(b"")
    Path("phone").write_bytes(HEIC)
    os.mkfifo("pipe")
    found = find_sources([argument, "clip.mp4"])
    assert names(found) == ["clip.mp4"]  # the others are still found
    (problem,) = found.problems
    assert problem.path == argument
    assert reason in problem.reason
    assert str(problem) == f"{argument}: {problem.reason}"


def test_nothing_given():
    assert find_sources([]) == find_sources(())
    assert find_sources([]).sources == ()


def test_output_folder_is_never_read(tree):
    out = tree / "out"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "done.jpg").write_bytes(JPEG)
    (tree / "way-in").symlink_to(out / "deep")
    (tree / "outside.jpg").write_bytes(JPEG)  # shares the first letters with the folder
    found = find_sources([tree, f"{tree}/**/*.jpg"], exclude=out)
    assert not any("done" in name for name in names(found))
    assert "outside.jpg" in names(found)
    assert "output folder" in find_sources([out], exclude=out).problems[0].reason
    assert "output folder" in find_sources([out / "deep" / "done.jpg"], exclude=out).problems[0].reason


def test_links_in_a_circle_and_dangling_links(tree):
    (tree / "day 2" / "round").symlink_to(tree)
    (tree / "self").symlink_to(tree / "self")
    (tree / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    found = find_sources([tree])
    assert len(found.sources) == 9
    assert [Path(p.path).name for p in found.problems] == ["gone.jpg"]


def test_linked_folder_is_followed(tree, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    (album / "to").symlink_to(tree)
    assert "to/day 2/a.mov" in names(find_sources([album]))


def test_hard_names(tmp_path):
    hard = ["line\nbreak.jpg", "👗 dress.jpg", "..jpg", "-rf.jpg", "a" * 251 + ".jpg", "..hidden.jpg"]
    for name in hard:
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(JPEG)
    found = find_sources([tmp_path])
    assert sorted(names(found)) == sorted([*(n for n in hard if not n.startswith(".")), os.fsdecode(b"\xff\xfe.jpg")])
    assert all(s.path.exists() for s in found.sources)


def test_folder_a_thousand_deep(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    depth = 1200
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert find_sources([tmp_path]).problems  # the path limit, or an empty folder, but no crash
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_unreadable_folder_and_file(tmp_path):
    """Root reads everything, so an unprivileged child process looks."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "free.jpg").write_bytes(JPEG)
    (tmp_path / "secret").write_bytes(JPEG)
    (tmp_path / "secret").chmod(0)
    (tmp_path / "locked").chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, sys\n"
        "from fashionseg.media.sources import find_sources\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "found = find_sources([sys.argv[1], sys.argv[1] + '/secret'])\n"
        "print([s.name for s in found.sources], [str(p) for p in found.problems])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    (tmp_path / "locked").chmod(0o700)
    assert done.stdout.startswith("['free.jpg']")
    assert "locked: cannot read this folder: Permission denied" in done.stdout
    assert "secret: cannot be read: Permission denied" in done.stdout


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (JPEG, "photo"),
        (PNG, "photo"),
        (b"GIF89a....", "photo"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "photo"),
        (b"BM\x10\0\0\0\0\0\0\0", "photo"),
        (b"II*\0\x08\0\0\0", "photo"),
        (MP4, "video"),
        (b"RIFF\x10\0\0\0AVI LIST", "video"),
        (b"\x1aE\xdf\xa3", "video"),
        (TRANSPORT_STREAM, "video"),
        (b"\0\0\0\0" + TRANSPORT_STREAM[:188] + b"\0\0\0\0" + TRANSPORT_STREAM[:188], "video"),
        (HEIC, None),
        (b"\0\0\0\x20ftypM4A ", None),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"G", None),
        (b"", None),
    ],
)
def test_kind_by_content(tmp_path, head, kind):
    (tmp_path / "x").write_bytes(head)
    assert kind_by_content(str(tmp_path / "x")) == kind


@given(st.binary(max_size=420))
@settings(max_examples=300, deadline=None)
def test_any_first_bytes_are_judged(tmp_path_factory, head):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(head)
    assert kind_by_content(str(path)) in ("photo", "video", None)


@given(st.lists(st.text(max_size=12), max_size=8))
def test_natural_order_does_not_depend_on_the_order_met(items):
    backwards = items[::-1]
    assert sorted(items, key=natural_key) == sorted(backwards, key=natural_key)


def test_natural_key_by_hand():
    assert sorted(["b", "a10", "A2", "a02", "a"], key=natural_key) == ["a", "A2", "a02", "a10", "b"]
