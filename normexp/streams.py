"""Independent random streams. The seed of a stream is a hash of the run's seed, the stream's purpose and a name."""

import hashlib
import json


def stream_seed(seed: int, purpose: str, name: object = "") -> int:
    """Return the seed, in [0, 2^64), of the stream for `purpose` in a run with `seed`, such as (0, "weights", "conv1").

    SHA-256 mixes all bits, so streams are independent whichever argument differs. Torch's CPU generator keeps only the low 32
    bits of a seed: two of its streams coincide with probability 2^-32.
    """
    digest = hashlib.sha256(json.dumps([seed, purpose, str(name)]).encode()).digest()
    return int.from_bytes(digest[:8], "little")
