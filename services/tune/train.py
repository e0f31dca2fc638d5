"""The process that trains one reranker: `python -m services.tune.train FOLDER`.

It ends when its standard input does: whoever started it is gone then.
"""

import json
import os
import sys
import threading
from pathlib import Path

from services.common.faults import described

NICENESS = 10


def main(folder: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The platform's own answers go first.
    os.nice(NICENESS)
    try:
        # Slow to import: the watch must begin before.
        from services.tune import learning  # noqa: PLC0415

        learning.learn(folder)
        learning.score(folder)
    except Exception as error:
        # Its message may hold what is learnt from.
        (folder / "failure.json").write_text(json.dumps(described(error)))
        raise


def _end_with_parent() -> None:
    # Not by way of sys.stdin, which the interpreter wants for itself when it ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
