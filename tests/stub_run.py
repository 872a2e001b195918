"""`segment` with a stub backend, as a program that tests can kill: stub_run.py OUT SOURCE... [--slow SECONDS]."""

import argparse
import sys
import time
from pathlib import Path

import stubs

from fashionseg import segment as segment_module
from fashionseg.cli.progress import choose_reporter, stopping_on_signals
from fashionseg.cli.segment import exit_code
from fashionseg.errors import FashionsegError


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds each run of the model takes")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--part-frames", type=int)
    parser.add_argument("--save", default="video,images,predictions")
    options = parser.parse_args()

    segment_module.read_model = lambda path: stubs.model_file()
    if options.part_frames:
        import fashionseg.segment.run
        import fashionseg.segment.video

        fashionseg.segment.run.PART_FRAMES = fashionseg.segment.video.PART_FRAMES = options.part_frames

    def backend(model):
        return stubs.StubBackend(model.spec, fail=lambda number, images: time.sleep(options.slow))

    chosen = segment_module.SegmentOptions(batch=options.batch, save=frozenset(options.save.split(",")))
    try:
        with choose_reporter(quiet=False, as_json=False) as reporter, stopping_on_signals(reporter) as stop:
            summary = segment_module.segment(options.sources, options.output, chosen, reporter, stop, backend)
    except FashionsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return exit_code(summary)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
