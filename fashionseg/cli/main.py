"""The group `fashionseg`: finds commands, turns errors into one line and an exit code.

Importing this module loads click alone; the module of a command is imported when it is called: `--help` is quick.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import click

from fashionseg._version import __version__
from fashionseg.cli.lazy import LazyGroup

COMMANDS = {
    "segment": "Segment clothing in photos and video.",
    "train": "Train or fine-tune a Mask R-CNN with Detectron2.",
    "evaluate": "Measure a model or predictions against a COCO data set.",
    "bench": "Measure how fast models and the whole pipeline are on this machine.",
    "export": "Turn a checkpoint into ONNX; lower its precision; build an engine.",
    "data": "Convert, split, check, draw and generate data sets.",
    "info": "Show what a model file says about itself.",
    "cache": "Show or clear the engines that --device trt built.",
    "doctor": "Say what this machine can run, and what to install for more.",
    "completion": "Print the shell completion script.",
}
"""Each command with its short help; its module is `fashionseg.cli.NAME`, its function there NAME too."""

EXIT_INTERRUPTED = 130


@click.group(
    cls=LazyGroup,
    home="fashionseg.cli",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "FASHIONSEG"},
    epilog="Every option can also come from the environment: FASHIONSEG_SEGMENT_CONF=0.4 stands for "
    "`segment --conf 0.4`.",
)
@click.version_option(__version__, prog_name="fashionseg")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Segment clothing in photos and video.

    \b
    fashionseg segment video.mp4            outline every garment; video with sound, COCO file
    fashionseg segment photos/ -o out       a folder, as long as it takes; the same command resumes it
    fashionseg export model_final.pth       Detectron2 checkpoint to ONNX
    fashionseg doctor                       what this machine can run
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = run(words, debug="--debug" in words or bool(os.environ.get("FASHIONSEG_DEBUG")))
    except KeyboardInterrupt:  # while an earlier one was being reported
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        _leave_at_once(code)
    sys.exit(code)


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run the command line; returns its exit code: 0, 1, 2, 3, 4 or 130 (see the README)."""
    from fashionseg.errors import FashionsegError

    try:
        result: Any = cli.main(args=arguments, prog_name="fashionseg", standalone_mode=False)
        _flush_stdout()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("stopped")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except FashionsegError as error:
        if debug:
            raise
        _say(f"error: {error}")
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        _say(f"internal error: {type(error).__name__}: {error} (run it with `fashionseg --debug ...` and report this)")
        return 1


def _say(message: str) -> None:
    from fashionseg.cli.streams import say

    say(f"fashionseg: {message}")


def _flush_stdout() -> None:
    """Meet a closed pipe here, where it can be handled, and not while Python shuts down."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()


def _silence_stdout() -> None:
    from fashionseg.cli.streams import silence

    silence(sys.stdout)


def _leave_at_once(code: int) -> None:
    """End the process where threads of a run that was stopped at once are still busy in native code.

    Python's own shutdown ends such a thread inside the library, which takes that for a crash and aborts.
    """
    if any(thread.name.startswith("fashionseg-") for thread in threading.enumerate()):
        _flush_stdout()
        os._exit(code)


if __name__ == "__main__":
    main()
