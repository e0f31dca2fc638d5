"""Which checkpoint training is taken up again from."""

from pathlib import Path

# In a checkpoint that was written to its end.
WHOLE = "whole"


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint in a folder that is whole, or None."""
    found = [each.parent for each in folder.glob(f"checkpoint-*/{WHOLE}")]
    return str(max(found, key=lambda each: int(each.name.rpartition("-")[2]))) if found else None
