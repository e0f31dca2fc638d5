"""The process that builds one data set: `python -m services.tune.build_dataset FOLDER`.

It ends when its standard input does: whoever started it is gone then.
"""

import os
import sys
import threading
from pathlib import Path

import orjson

from services.common.faults import described
from services.tune.datasets.files import FAILURE

NICENESS = 10


def main(folder: Path) -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The platform's own answers go first.
    os.nice(NICENESS)
    try:
        # Slow to import: the watch must begin before.
        from services.tune.datasets import process  # noqa: PLC0415

        return process.build_in(folder)
    except Exception as error:
        # Its message may hold what is learnt from.
        (folder / FAILURE).write_bytes(orjson.dumps({"reason": "", "message": described(error)}))
        raise


def _end_with_parent() -> None:
    # Not by way of sys.stdin, which the interpreter wants for itself when it ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
