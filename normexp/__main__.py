"""`python -m normexp` is the same as the console script."""

from normexp.cli import main

raise SystemExit(main())
