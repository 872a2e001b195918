"""`fashionseg data`: the group of commands that prepare data sets, each imported when it is called."""

from __future__ import annotations

import click

from fashionseg.cli.lazy import LazyGroup

COMMANDS = {
    "convert": "Convert DeepFashion2, YOLO-seg or label maps to COCO.",
    "split": "Split a COCO file, keeping groups together and classes in proportion.",
    "merge": "Merge COCO files into one.",
    "filter": "Keep some categories, garments or photos.",
    "check": "Find what is wrong in a data set.",
    "stats": "Count instances by category.",
    "preview": "Draw a contact sheet of the ground truth.",
    "synth": "Draw labelled pictures of dressed figures.",
}
"""Each command with its short help; its module is `fashionseg.cli.data.NAME`, its function there NAME too."""


@click.group(
    cls=LazyGroup, home=__name__, table=COMMANDS, short_help="Convert, split, check, draw and generate data sets."
)
def data() -> None:
    """Prepare COCO data sets: convert, check, split, look at, and draw them.

    \b
    fashionseg data convert deepfashion2 DeepFashion2/train -o df2-train.json
    fashionseg data check df2-train.json --images DeepFashion2/train/image
    fashionseg data split df2-train.json -o splits --group pair_id
    fashionseg data stats splits/train.json --png train.png
    fashionseg data preview splits/train.json --images DeepFashion2/train/image -o sheet.jpg
    fashionseg data synth drawn --count 200        no photo at hand? draw some
    """
