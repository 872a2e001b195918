"""`segment` with a stub backend, as a program that tests can kill: stub_run.py OUT SOURCE... [options].

`start` and `finish` run it from a test.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import clips
import stubs

from fashionseg import segment as segment_module
from fashionseg.cli import progress
from fashionseg.cli.progress import choose_reporter, stopping_on_signals
from fashionseg.cli.segment import exit_code
from fashionseg.cli.streams import say
from fashionseg.errors import FashionsegError

NOBODY = 65534


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds each run of the model takes")
    parser.add_argument("--gate", type=Path, help="before `picture(seed=GATE_AT)`, wait until this file is there")
    parser.add_argument("--gate-at", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--part-frames", type=int)
    parser.add_argument("--save", default="video,images,predictions")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log-seconds", type=float)
    parser.add_argument("--as-nobody", action="store_true", help="give up root once everything is loaded")
    options = parser.parse_args()

    segment_module.read_model = lambda path: stubs.model_file()
    if options.part_frames:
        import fashionseg.segment.video

        fashionseg.segment.video.PART_FRAMES = options.part_frames
    if options.log_seconds is not None:
        progress.LOG_SECONDS = options.log_seconds
    if options.as_nobody:
        become_nobody()

    at_gate = stubs.at_picture(options.gate_at, lambda: wait_at(options.gate))

    def before(number, images):
        time.sleep(options.slow)
        if options.gate:
            at_gate(number, images)

    def backend(model):
        made = stubs.StubBackend(model.spec, fail=before)
        made.streams = 2  # while one thread waits at the gate, the other does what comes before it
        return made

    chosen = segment_module.SegmentOptions(batch=options.batch, save=frozenset(options.save.split(",")))
    try:
        with choose_reporter(quiet=False, as_json=options.json) as reporter, stopping_on_signals(reporter) as stop:
            summary = segment_module.segment(options.sources, options.output, chosen, reporter, stop, backend)
    except FashionsegError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return exit_code(summary)


def wait_at(gate):
    deadline = time.monotonic() + 120  # its test is long dead
    while not gate.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def become_nobody():
    """Load what a run loads on its way, which another user may not be able to read, and become that user."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        photos = stubs.write_photos(Path(folder) / "in", 1)
        segment_module.segment(
            [*photos, clips.make(Path(folder) / "clip.mp4", clips.Clip(frames=1))],
            Path(folder) / "out",
            segment_module.SegmentOptions(),
            open_backend=lambda model: stubs.StubBackend(model.spec),
        )
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def start(output, *sources, **options):
    """The program as a process. `slow=0.1` stands for --slow 0.1; `popen` holds arguments of `Popen`."""
    popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options.pop("popen", {})}
    command = [sys.executable, __file__, str(output), *map(str, sources)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(command, env=environment, **popen)


def finish(output, *sources, expect=0, **options):
    """Run the program to its end; returns what it wrote to standard error."""
    process = start(output, *sources, **options)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == expect, errors
    return errors


class Gated:
    """The program, held at its gate before `picture(seed=at)`: what comes before it is done, what comes after is not.

    What a test does then, it does in the middle of the run, however slow the machine is. `open_gate` lets it go on.
    """

    def __init__(self, output, *sources, at=4, done=None, **options):
        self.output = output
        self._gate = output.parent / f"{output.name}.gate"
        self.process = start(output, *sources, gate=self._gate, gate_at=at, **options)
        wait_for(done or (lambda: len(list(output.glob("*.jpg"))) == at), self.process)

    def open_gate(self):
        self._gate.touch()

    def end(self, expect):
        """Let it go on to its end; returns what it wrote to standard error since that was read last."""
        self.open_gate()
        errors = self.process.stderr.read()  # `communicate` would lose what `readline` has read ahead
        self.process.wait(120)
        assert self.process.returncode == expect, errors
        return errors


def wait_for(condition, process, seconds=120):
    """Until `condition()` holds; the process must live so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"it did not come to that: {process.communicate()}")


def same_files(one, other):
    """Assert that two output folders hold the same files with the same bytes, the state folder aside; their names."""
    names = _files(one)
    assert names == _files(other)
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    return names


def _files(root):
    files = (path for path in root.rglob("*") if path.is_file() and ".fashionseg" not in path.parts)
    return sorted(path.relative_to(root) for path in files)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
