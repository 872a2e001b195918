"""What `segment` prints before (`--dry-run`) and after a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from fashionseg.segment.types import Plan, Summary

SHOWN_FAILURES = 5


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """The inputs, and where their outputs would go."""
    pairs = zip(plan.sources, plan.outputs, strict=True)
    if as_json:
        inputs = [{"path": str(s.path), "kind": s.kind, "output": str(plan.root / name)} for s, name in pairs]
        failures = [{"path": failure.path, "reason": failure.reason} for failure in plan.failures]
        click.echo(json.dumps({"inputs": inputs, "failures": failures}, indent=1))
        return
    for source, name in pairs:
        click.echo(f"{source.kind}  {_printable(str(source.path))} → {_printable(str(plan.root / name))}")
    for failure in plan.failures:
        click.echo(f"failed: {_printable(failure.reason)}", err=True)


def print_summary(summary: Summary, *, quiet: bool, as_json: bool) -> None:
    """What was done: on standard output as JSON, else on standard error for people."""
    if as_json:
        click.echo(json.dumps({"event": "summary", **as_dict(summary)}))
        return
    if quiet:
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if summary.tally.detections or summary.tally.photos or summary.tally.frames:
        console.print(_class_table(summary))
    for line in _closing_lines(summary):
        console.print(line, markup=False, soft_wrap=True)


def as_dict(summary: Summary) -> dict[str, Any]:
    """The summary as JSON can hold it; times in seconds."""
    tally = summary.tally
    return {
        "photos": tally.photos,
        "videos": tally.videos,
        "frames": tally.frames,
        "detections": {name: tally.detections[label] for label, name in enumerate(summary.class_names)},
        "failures": [
            {"path": failure.path, "reason": failure.reason, "frames": failure.frames} for failure in summary.failures
        ],
        "interrupted": summary.interrupted,
        "resumed": summary.resumed,
        "pictures_this_run": summary.frames,
        "nms_not_exact": summary.inexact,
        "elapsed_s": round(summary.seconds, 3),
        "seconds_by_work": {kind: round(seconds, 3) for kind, seconds in summary.timings.items()},
        "model": summary.model,
        "backend": summary.backend,
        "output": str(summary.plan.root),
    }


def _class_table(summary: Summary) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    table.add_column("garments", justify="right")
    table.add_column("pictures", justify="right")
    for label, name in enumerate(summary.class_names):
        found, pictures = summary.tally.detections[label], summary.tally.pictures[label]
        if found or len(summary.class_names) <= 13:
            table.add_row(name.replace("_", " "), f"{found:,}", f"{pictures:,}", style=None if found else "dim")
    return table


def _closing_lines(summary: Summary) -> list[str]:
    lines = []
    tally = summary.tally
    if summary.interrupted:
        lines.append("stopped; the same command goes on from here")
    elif not summary.frames and not summary.failures:
        lines.append("nothing to do: everything was finished before")
    done = [f"{tally.photos:,} photos"] if tally.photos else []
    done += (
        [f"{tally.frames:,} frames of {tally.videos} video{'s' if tally.videos > 1 else ''}"] if tally.videos else []
    )
    if done:
        lines.append(f"{' and '.join(done)} in {summary.plan.root}")
    if summary.frames:
        rate = summary.frames / summary.seconds if summary.seconds else 0.0
        lines.append(f"{summary.frames:,} pictures in {summary.seconds:.1f} s ({rate:.1f}/s); {summary.backend}")
        lines.append(_work_line(summary))
    if summary.inexact:
        lines.append(f"{summary.inexact} pictures may differ slightly from exact non-maximum suppression")
    lines += [f"  {_printable(path)}" for path in output_paths(summary)]
    if summary.failures:
        lines.append(f"{len(summary.failures)} of the inputs failed, see {summary.plan.root / 'failures.json'}")
    return lines


def _work_line(summary: Summary) -> str:
    """Milliseconds a picture of each kind of work; they overlap, so they add up to more than the wall time."""
    parts = [f"{kind} {1000 * s / summary.frames:.1f}" for kind, s in summary.timings.items() if s]
    return f"ms a picture, overlapping: {', '.join(parts)}"


def output_paths(summary: Summary) -> list[str]:
    """The files worth opening: videos, and the COCO files."""
    plan = summary.plan
    if summary.interrupted:
        return []
    videos = [name for source, name in zip(plan.sources, plan.outputs, strict=True) if source.kind == "video"]
    names = [*videos[:SHOWN_FAILURES], "predictions.json", "images.json"]
    return [str(plan.root / name) for name in names if (plan.root / name).exists()]


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\n", "␊")
