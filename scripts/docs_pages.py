"""Hook of mkdocs (see mkdocs.yml): pages from README.md, CONTRIBUTING.md and CHANGELOG.md, and those generated from the code."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.commands.help import keys_of_file
from normexp.config import GROUPS, yaml_files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages to those of docs/."""
    from mkdocs.structure.files import File

    pages = {
        "index.md": page_of_root("README.md"),
        "contributing.md": page_of_root("CONTRIBUTING.md"),
        "changelog.md": page_of_root("CHANGELOG.md"),
        "config-keys.md": config_keys(),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def page_of_root(name: str) -> str:
    """A page of the repository's root, with its links rewritten to work from docs/."""
    text = re.sub(r"(\]\(|src=\")docs/", r"\1", (ROOT / name).read_text(encoding="utf-8"))
    return re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md\)", lambda match: f"]({match[1].lower()}.md)", text)


def config_keys() -> str:
    """All keys, with default and meaning, from the comments of the yaml files."""
    sections = [
        "# Config keys",
        "Generated from the files in `configs/`.",
        "## Every run",
        _table(yaml_files.folder() / "train.yaml"),
    ]
    for group in GROUPS:
        for name in yaml_files.choices(group):
            sections += [f"## {group}={name}", _table(yaml_files.folder() / group / f"{name}.yaml", f"{group}.")]
    return "\n\n".join(sections) + "\n"


def _table(path: Path, prefix: str = "") -> str:
    rows = [
        (f"`{prefix}{key}`", f"`{value}`", comment)
        for key, (value, comment) in keys_of_file(path).items()
        if key != "name"
    ]
    if not rows:
        return "No keys of its own."
    cells = [("key", "default", "meaning"), ("---",) * 3, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
