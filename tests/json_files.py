"""JSON files that tests break on purpose."""

import json


def edited(path, change):
    """The file, after `change` has had its document."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path
