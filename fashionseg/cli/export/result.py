"""What an export made, for people and for programs. Knows model files; what was compared comes as tables and values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from fashionseg.model import ModelFile


@dataclass(frozen=True, slots=True)
class Result:
    """A model file in memory, and how it came about.

    Attributes:
        model: the file.
        seconds: that making and proving it took.
        tables: what it was compared with, for people.
        notes: what people should know, in lines.
        values: the same for programs.
    """

    model: ModelFile
    seconds: float = 0.0
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)


def show(result: Result, *, quiet: bool, as_json: bool) -> None:
    """JSON on standard output, tables on standard error, or nothing."""
    if as_json:
        click.echo(json.dumps({**_description(result), **result.values}, ensure_ascii=False))
    elif not quiet:
        _print(result)


def _description(result: Result) -> dict[str, Any]:
    from dataclasses import asdict

    from fashionseg.model import parse_onnx

    model = result.model
    if model.engine is None:
        kind: dict[str, Any] = {"nodes": len(parse_onnx(model.data, str(model.path)).graph.node)}
    else:
        kind = asdict(model.engine) | {"profiles": [str(profile) for profile in model.engine.profiles]}
    return {
        "file": str(model.path),
        "bytes": len(model.data),
        **kind,
        "classes": list(model.spec.class_names),
        "precision": model.spec.precision,
        "seconds": round(result.seconds, 2),
    }


def _print(result: Result) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for table in result.tables:
        console.print(table)
    for note in result.notes:
        console.print(note, style="yellow", markup=False, soft_wrap=True)
    found, spec = _description(result), result.model.spec
    kind = f"{found['nodes']} nodes" if "nodes" in found else f"for {'; '.join(found['profiles'])}"
    console.print(
        f"{found['file']}  {found['bytes'] / 1e6:.1f} MB, {spec.precision}, {len(spec.class_names)} classes, "
        f"{spec.max_detections} detections, {kind}, {result.seconds:.1f} s",
        markup=False,
        soft_wrap=True,
    )
