"""What `fashionseg bench` shows on a terminal: rows, stages of the pipeline, what changed.

Knows rich and layout. Knows nothing about how figures are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from fashionseg.benchmarks.bench_result import UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.benchmarks.bench_result import BenchResult, Figure, Row
    from fashionseg.benchmarks.compare import Change

UNKNOWN = "–"


def tables(result: BenchResult) -> list[Table]:
    """The model alone, what it takes, then the whole pipeline and its stages; 80 characters wide."""
    shown = [model_table(result), needs_table(result)]
    if any(row.end_to_end for row in result.rows):
        shown += [video_table(result), stage_table(result)]
    return shown


def model_table(result: BenchResult) -> Table:
    """A row for each model, device and batch: latency, throughput, floor, accuracy."""
    table = _table("the model alone", ["model", "batch"])
    for title in ("p50 ms", "p90 ms", "p99 ms", "photos/s", "× floor", "AP"):
        table.add_column(title, justify="right")
    for row in result.rows:
        latency = [f"{row.latency_ms[p]:.1f}" for p in ("p50", "p90", "p99")]
        table.add_row(
            _who(row),
            str(row.batch),
            *latency,
            _figure(row.pictures_per_s),
            f"{row.floor.times:.2f}" if row.floor else UNKNOWN,
            UNKNOWN if row.ap is None else f"{100 * row.ap:.1f}",
        )
    return table


def needs_table(result: BenchResult) -> Table:
    """A row for each: memory, size of the file, start-up."""
    table = _table("what it takes", ["model", "batch"])
    for title in ("host MB", "GPU MB", "file MB", "start-up s"):
        table.add_column(title, justify="right")
    for row in result.rows:
        memory = [_whole(row.memory_mb), _whole(row.gpu_memory_mb)]
        table.add_row(_who(row), str(row.batch), *memory, f"{row.file_mb:.1f}", f"{row.startup_s.median:.2f}")
    return table


def video_table(result: BenchResult) -> Table:
    """A row for each: frames a second from file to file, against what the cores could do."""
    table = _table(f"decode to encode: {result.source}", ["model", "batch"])
    for title in ("frames/s", "of the best", "frames", "host MB"):
        table.add_column(title, justify="right")
    table.add_column("limit")
    for row in result.rows:
        end = row.end_to_end
        if end:
            best = f"{end.fps.median / end.bound_fps:.0%} of {end.bound_fps:.1f}"
            figures = [_figure(end.fps), best, str(end.frames), _whole(end.memory_mb)]
            table.add_row(_who(row), str(row.batch), *figures, end.limit)
    return table


def stage_table(result: BenchResult) -> Table:
    """Processor time and share of each stage, and how busy its threads were."""
    table = _table("stages: processor ms a frame, share, threads at work", ["model", "batch"])
    rows = [row for row in result.rows if row.end_to_end]
    for stage in rows[0].end_to_end.stages if rows and rows[0].end_to_end else ():
        table.add_column(f"{stage.name} × {stage.threads}" if stage.threads > 1 else stage.name, justify="right")
    for row in rows:
        stages = row.end_to_end.stages if row.end_to_end else ()
        whole = sum(stage.cpu_ms for stage in stages)
        cells = [f"{stage.cpu_ms:.1f}  {stage.cpu_ms / whole:.0%}\n{stage.busy:.0%} busy" for stage in stages]
        table.add_row(_who(row), str(row.batch), *cells)
    return table


def change_table(changes: Sequence[Change]) -> Table:
    """Each metric before and after, and whether it got better or worse by more than the spread."""
    table = _table("what changed", ["row", "metric"])
    for title in ("old", "new", "change", "spread"):
        table.add_column(title, justify="right")
    table.add_column("")
    last = ""
    for change in changes:
        numbers = [f"{value:.4g}" for value in (change.old, change.new)]
        style = {"better": "green", "worse": "bold red"}.get(change.verdict, "dim")
        who = Text("" if change.row == last else change.row)
        last = change.row
        unit = UNITS[change.metric]
        name = f"{change.metric}, {unit}" if unit else change.metric
        table.add_row(
            who, name, *numbers, f"{change.ratio - 1:+.1%}", f"±{change.spread:.1%}", Text(change.verdict, style=style)
        )
    return table


def closing_lines(result: BenchResult) -> list[str]:
    """What the figures were measured on, and the floor in words."""
    machine = result.machine
    where = [f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads", *machine["gpus"]]
    lines = [f"{'; '.join(where)}; {result.rows[0].backend}; {_rounds(result.repeat)}"]
    floors = [row.floor for row in result.rows if row.floor]
    if floors:
        floor = floors[0]
        lines.append(
            f"floor: {floor.flops / 1e9:.1f} GFLOP at {floor.flops_per_s / 1e9:.0f} GFLOP/s, "
            f"{floor.bytes / 1e6:.0f} MB at {floor.bytes_per_s / 1e9:.0f} GB/s: {floor.ms:.1f} ms a run"
        )
    return lines


def _rounds(number: int) -> str:
    return "one round" if number == 1 else f"medians of {number} rounds, ± half their range"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "batch" else "left")
    return table


def _who(row: Row) -> Text:
    """Model, device and precision; names are strangers' text."""
    return Text(f"{row.model}\n{row.device}, {row.precision}".replace("\x1b", "␛"))


def _figure(figure: Figure) -> str:
    """Median and half the range of the rounds."""
    return f"{figure.median:.1f} ±{figure.spread / 2:.0%}"


def _whole(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"
