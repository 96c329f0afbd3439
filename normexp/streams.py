"""Independent random streams: the seed of each one is a hash of the run's seed, what it is for, and a name."""

from __future__ import annotations

import hashlib
import json


def stream_seed(seed: int, purpose: str, name: object = "") -> int:
    """Return the seed, in [0, 2^64), of the stream for `purpose` in a run with `seed`, such as (0, "weights", "conv1").

    SHA-256 mixes all bits of the three, so that streams are independent whichever of them differs, and seeds of the whole
    range differ. Torch's CPU generator keeps the low 32 bits of a seed: two of its streams coincide with probability 2^-32.
    """
    digest = hashlib.sha256(json.dumps([seed, purpose, str(name)]).encode()).digest()
    return int.from_bytes(digest[:8], "little")
