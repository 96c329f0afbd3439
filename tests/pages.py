"""README.md, CONTRIBUTING.md and the pages in docs/, and the commands that they show."""

import re

from tests.conftest import ROOT

PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
}
TEXT = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
SHELL = list(dict.fromkeys(line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line))
PACKAGED = [line for line in SHELL if line.startswith("normexp") and "center" in line]
"""Commands with the package of docs/extending.md, which tests/test_installed_packages.py runs."""
