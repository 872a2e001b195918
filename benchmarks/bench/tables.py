"""What `fashionseg bench` shows on a terminal: rows, stages of the pipeline, what changed.

Knows rich and layout. Knows nothing about how figures are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from fashionseg.benchmarks.bench.result import UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.benchmarks.bench.compare import Change
    from fashionseg.benchmarks.bench.result import BenchResult, Figure, Floor, Row, Stage

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
    """Processor time and share of each stage, and how busy its threads were.

    How many threads a stage has stands above it, or, where that differs from row to row, in each cell.
    """
    table = _table("stages: processor ms a frame, share, threads at work", ["model", "batch"])
    rows = [(row, {stage.name: stage for stage in row.end_to_end.stages}) for row in result.rows if row.end_to_end]
    names = list(dict.fromkeys(name for _, stages in rows for name in stages))
    threads = {name: {stages[name].threads for _, stages in rows if name in stages} for name in names}
    for name in names:
        same = min(threads[name]) if len(threads[name]) == 1 else 1
        table.add_column(f"{name} × {same}" if same > 1 else name, justify="right")
    for row, stages in rows:
        whole = sum(stage.cpu_ms for stage in stages.values())
        cells = [_stage_cell(stages.get(name), whole, tell_threads=len(threads[name]) > 1) for name in names]
        table.add_row(_who(row), str(row.batch), *cells)
    return table


def _stage_cell(stage: Stage | None, whole: float, *, tell_threads: bool) -> str:
    if stage is None:
        return UNKNOWN
    text = f"{stage.cpu_ms:.1f}  {stage.cpu_ms / whole:.0%}\n{stage.busy:.0%} busy"
    plural = "s" if stage.threads > 1 else ""
    return f"{text}\n{stage.threads} thread{plural}" if tell_threads else text


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
    """What the figures were measured on, and the floor of each row in words."""
    machine = result.machine
    where = [f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads", *machine["gpus"]]
    backends = dict.fromkeys(row.backend for row in result.rows)
    lines = ["; ".join([*where, *backends, _rounds(result.repeat)])]
    for row in result.rows:
        if row.floor:
            of = f" of {_shown(row.label())}" if len(result.rows) > 1 else ""
            lines.append(f"floor{of}: {_floor_words(row.floor)}")
    return lines


def _floor_words(floor: Floor) -> str:
    return (
        f"{floor.flops / 1e9:.1f} GFLOP at {floor.flops_per_s / 1e9:.0f} GFLOP/s, "
        f"{floor.bytes / 1e6:.0f} MB at {floor.bytes_per_s / 1e9:.0f} GB/s: {floor.ms:.1f} ms a run"
    )


def _rounds(number: int) -> str:
    return "one round" if number == 1 else f"medians of {number} rounds, ± half their range"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "batch" else "left")
    return table


def _who(row: Row) -> Text:
    """Model, device and precision."""
    return Text(_shown(f"{row.model}\n{row.device}, {row.precision}"))


def _shown(text: str) -> str:
    """Names are strangers' text: nothing in them controls the terminal."""
    return text.replace("\x1b", "␛")


def _figure(figure: Figure) -> str:
    """Median and half the range of the rounds."""
    return f"{figure.median:.1f} ±{figure.spread / 2:.0%}"


def _whole(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"
