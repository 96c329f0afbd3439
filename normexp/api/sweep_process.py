"""The process of normexp.sweep: `normexp train -m`, until the process that started it ends."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from normexp.cli import main
from normexp.rundir import process


def _stop_with(parent: Mapping[str, Any]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # the sweep's own threads handle them
    while process.alive(parent):
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with, args=(json.loads(sys.argv[1]),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would this process
    sys.exit(main(["train", "-m", *sys.argv[2:]]))
