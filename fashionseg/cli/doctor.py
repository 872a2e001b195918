"""`fashionseg doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from fashionseg.cli.options import json_option


@click.command(short_help="Say what this machine can run, and what to install for more.")
@json_option
def doctor(as_json: bool) -> int:
    """Try what this machine can run: ONNX Runtime, GPU, TensorRT, codecs, Detectron2; and say what is missing.

    Exits with 1 where something is broken.
    """
    from fashionseg.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        marks = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            mark, style = marks[finding.ok]
            words = Text(finding.text)
            if finding.remedy:
                words.append(f"\n→ {finding.remedy}", style="cyan")
            table.add_row(Text(mark, style=style), Text(finding.topic, style="bold"), words)
        Console(highlight=False).print(table)
    return 1 if any(finding.ok is False for finding in findings) else 0
