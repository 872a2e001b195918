"""The output folder of a run: lock, journal, and what is already done in it.

Layout: `OUT/.fashionseg/` holds the journal, the lock, parts of unfinished videos and temporary files; all else in
`OUT` is for the user and appears whole or not at all. Knows nothing about pictures.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fashionseg.errors import OutputError
from fashionseg.files import make_folder, output_errors
from fashionseg.writers.journal import Journal, Record, read_records
from fashionseg.writers.records import Done, PartDone, PhotoDone, PhotoFailed, VideoDone, parse_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATE = ".fashionseg"
JOURNAL_FORMAT = 1

Fingerprint = dict[str, Any]
"""What must be the same for a run to go on: names and values for people to read, JSON."""


class RunFolder:
    """An output folder that this process holds; a context manager.

    Raises:
        OutputError: another process writes into it, it belongs to another run, or it cannot be written.
    """

    def __init__(self, root: Path, fingerprint: Fingerprint, *, restart: bool = False) -> None:
        self.root = root
        self.state = root / STATE
        self.temporary = self.state / "tmp"
        self._fingerprint = fingerprint
        self._restart = restart
        self._stack = ExitStack()
        self._photos: dict[int, int] = {}
        self._failed: set[int] = set()
        self._parts: dict[int, list[tuple[int, int]]] = {}  # of each part, where its record is and how many frames
        self._videos: dict[int, int] = {}

    def __enter__(self) -> RunFolder:
        with ExitStack() as stack:
            make_folder(self.root)
            make_folder(self.state, inside=self.root)
            self._refuse_links()
            stack.callback(self._lock())
            self._refuse_foreign_files()
            if self._restart:
                self._forget()
            shutil.rmtree(self.temporary, ignore_errors=True)
            make_folder(self.temporary, inside=self.root)
            make_folder(self.state / "parts", inside=self.root)
            self.journal = stack.enter_context(Journal(self.state / "journal"))
            self._replay()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)
        self._stack.close()

    @staticmethod
    def begun(root: Path) -> bool:
        """Whether `root` holds the journal of a run."""
        return (root / STATE / "journal").exists()

    @property
    def resumed(self) -> bool:
        """Whether an earlier run left something finished here."""
        return bool(self._photos or self._parts or self._videos)

    def photo_done(self, source: int) -> bool:
        """Whether this photo is finished."""
        return source in self._photos

    def photo_failed(self, source: int) -> bool:
        """Whether an earlier run could not segment this photo."""
        return source in self._failed

    def parts_done(self, source: int) -> int:
        """How many parts of this video are finished, from its beginning."""
        return len(self._parts.get(source, ()))

    def last_part(self, source: int) -> PartDone | None:
        """The last finished part of a video, or None."""
        parts = self._parts.get(source)
        done = self._at(parts[-1][0]) if parts else None
        return done if isinstance(done, PartDone) else None

    def video_done(self, source: int) -> VideoDone | None:
        """The finished video, or None."""
        done = self._at(self._videos[source]) if source in self._videos else None
        return done if isinstance(done, VideoDone) else None

    def forget_video(self, source: int) -> None:
        """Take a video for not begun: its parts or its output are gone."""
        self._parts.pop(source, None)
        self._videos.pop(source, None)

    def part_path(self, source: int, part: int, suffix: str) -> Path:
        """Where a part of a video lies until the parts are joined."""
        return self.state / "parts" / str(source) / f"{part:06d}{suffix}"

    def drop_parts(self, source: int) -> None:
        """Remove the part files of a video that is joined, once it is certain that they are not needed again."""
        self.journal.sync()
        shutil.rmtree(self.state / "parts" / str(source), ignore_errors=True)

    def add(self, done: Done) -> None:
        """Note in the journal that something is finished; its files must be in place already."""
        if isinstance(done, PartDone):
            folder = self.root / done.folder if done.folder else None
        else:
            folder = (self.root / done.output).parent if done.output else None
        self._index(self.journal.append(done.to_record(), folder), done)

    def finished(self, source: int) -> Iterator[PhotoDone | PartDone]:
        """The finished photo, or the finished parts of the video in order."""
        parts = [offset for offset, _ in self._parts.get(source, ())]
        for offset in [self._photos[source]] if source in self._photos else parts:
            done = self._at(offset)
            if isinstance(done, PhotoDone | PartDone):
                yield done

    def _at(self, offset: int) -> Done:
        return parse_record(self.journal.record_at(offset), str(self.journal.path))

    def _index(self, offset: int, done: Done) -> None:
        if isinstance(done, PhotoDone):
            self._photos[done.source] = offset
            self._failed.discard(done.source)
        elif isinstance(done, PhotoFailed):
            self._failed.add(done.source)
        elif isinstance(done, VideoDone):
            if done.frames == sum(frames for _, frames in self._parts.get(done.source, ())):
                self._videos[done.source] = offset
        else:
            self._videos.pop(done.source, None)  # a video of which something was lost is begun anew there
            parts = self._parts.setdefault(done.source, [])
            del parts[done.part :]
            if done.part == len(parts):
                parts.append((offset, len(done.frames)))

    def _lock(self) -> Any:
        from filelock import FileLock, Timeout

        lock = FileLock(self.state / "lock")
        with output_errors(self.root):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise OutputError(
                    f"another fashionseg is writing into {self.root}; wait for it or choose another folder with -o"
                ) from None
        return lock.release

    def _refuse_links(self) -> None:
        """A journal or lock that is a link would have this run write into somebody else's file."""
        for name in ("journal", "lock", "tmp", "parts"):
            if (self.state / name).is_symlink():
                raise OutputError(f"{self.state / name} is a link; remove it")

    def _refuse_foreign_files(self) -> None:
        if self._restart or (self.state / "journal").exists():
            return
        for name in ("predictions.json", "images.json", "failures.json"):
            if (self.root / name).exists():
                raise OutputError(
                    f"{self.root} holds a {name} that this command did not begin; choose another folder with -o, "
                    "or write over it with --restart"
                )

    def _forget(self) -> None:
        """Begin anew: remove the journal and the files it says were written."""
        journal = self.state / "journal"
        with output_errors(self.root):
            if journal.exists():
                for _, _, record in read_records(journal):
                    self._remove_outputs(record)
                journal.unlink()
            for name in ("predictions.json", "images.json", "failures.json"):
                (self.root / name).unlink(missing_ok=True)
        shutil.rmtree(self.state / "parts", ignore_errors=True)

    def _remove_outputs(self, record: Record) -> None:
        try:
            done = parse_record(record, str(self.root))
        except OutputError:
            return  # the header, or of another version: what it wrote is written over, or stays
        files = done.files if isinstance(done, PartDone) else (done.output,)
        for name in files:
            path = self.root / (name or "")
            if name and path.parent.resolve().is_relative_to(self.root.resolve()):
                path.unlink(missing_ok=True)

    def _replay(self) -> None:
        records = self.journal.replay()
        first = next(records, None)
        if first is None:
            self.journal.append({"t": "run", "format": JOURNAL_FORMAT, "fingerprint": self._fingerprint})
            return
        self._compare(first[1])
        for offset, record in records:
            done = parse_record(record, str(self.journal.path))
            if self._still_there(done):
                self._index(offset, done)

    def _still_there(self, done: Done) -> bool:
        """Whether the output of a record is still in place; what the user removed is done again."""
        if isinstance(done, PartDone):
            # Its own file is gone once the video is joined; whether it is needed shows when the video goes on.
            return all((self.root / name).is_file() for name in done.files)
        return done.output is None or (self.root / done.output).is_file()

    def _compare(self, header: Record) -> None:
        before = header.get("fingerprint")
        if header.get("t") != "run" or header.get("format") != JOURNAL_FORMAT or not isinstance(before, dict):
            raise OutputError(
                f"{self.root} was begun by another version of fashionseg; choose another folder with -o, "
                "or begin anew with --restart"
            )
        changed = [
            _difference(key, before.get(key), value)
            for key, value in self._fingerprint.items()
            if before.get(key) != value
        ]
        if changed:
            raise OutputError(
                f"{self.root} holds a run with other settings ({'; '.join(changed)}); choose another folder with -o, "
                "or begin anew with --restart"
            )


def _difference(key: str, before: Any, now: Any) -> str:
    if key in ("sources", "model"):
        return f"the {key} changed"
    return f"{key} was {_words(before)}, now {_words(now)}"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
