"""The process that trains one adapter: `python -m services.tune.training FOLDER`.

The same under `torchrun -m` and `accelerate launch -m`, which start it once for each device. With --with-parent it
ends when its standard input does: whoever started it is gone then.
"""

import argparse
import json
import os
import threading
from pathlib import Path

from services.common.errors import ServiceError
from services.common.faults import described
from services.tune.training.spec import Layout

NICENESS = 10
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",  # the folder has everything
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.tune.training", description=__doc__)
    parser.add_argument("folder", type=Path, help="Holds spec.json and the rows; there comes adapter/.")
    parser.add_argument("--with-parent", action="store_true", help="End when standard input does.")
    arguments = parser.parse_args()
    if arguments.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    # The platform's own answers go first.
    os.nice(NICENESS)
    os.environ.update(_OFFLINE)
    layout = Layout(arguments.folder.absolute())
    layout.failure.unlink(missing_ok=True)
    try:
        # Slow to import: the watch must begin before.
        from services.tune.training.learning import learn  # noqa: PLC0415

        learn(layout, int(os.environ.get("WORLD_SIZE", "1")))
    except Exception as error:
        _tell(layout, error)
        raise


def _tell(layout: Layout, error: Exception) -> None:
    """Write why nothing came out; what was not written to be shown may hold what is learnt from."""
    if isinstance(error, ServiceError):
        told = {"reason": error.reason, "message": str(error), "facts": error.facts}
    else:
        told = {"reason": "", "message": described(error), "facts": {}}
    layout.failure.write_text(json.dumps(told))


def _end_with_parent() -> None:
    # Not by way of sys.stdin, which the interpreter wants for itself when it ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
