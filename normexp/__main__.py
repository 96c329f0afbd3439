"""`python -m normexp` is the same as the console script."""

import sys

# Python puts the current folder first on the path: a copy.py or torch.py there would be imported instead of the library's.
# It stays where normexp itself comes from there, as in a checkout that is not installed.
from_here = __file__ == f"{sys.path[0]}/normexp/__main__.py"
if not (sys.flags.safe_path or from_here):
    del sys.path[0]

from normexp.cli import main  # noqa: E402

raise SystemExit(main(sys.argv[1:] if from_here else None))
