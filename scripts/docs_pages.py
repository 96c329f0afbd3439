"""Hook of mkdocs (see mkdocs.yml): adds README.md, CONTRIBUTING.md, CHANGELOG.md and pages generated from the code."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from docs_api import python_functions
from docs_notebook import notebook_page

from normexp.config import GROUPS, yaml_files
from normexp.metrics import MEANINGS
from normexp.probes import meanings

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
NOTEBOOK_PAGE = "notebook.md"
FIRST_IN_SEARCH = "---\nsearch: {boost: 4}\n---\n\n"


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated pages to those in docs/."""
    from mkdocs.structure.files import File

    notebook, images = notebook_page(ROOT / "docs" / "tutorial.ipynb")
    pages: dict[str, str | bytes] = {
        "index.md": page_of_root("README.md"),
        "contributing.md": page_of_root("CONTRIBUTING.md"),
        "changelog.md": page_of_root("CHANGELOG.md"),
        "config-keys.md": FIRST_IN_SEARCH + config_keys(),
        "metrics.md": FIRST_IN_SEARCH + metrics(),
        "python-functions.md": python_functions(),
        NOTEBOOK_PAGE: notebook,
        **images,
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Have links to the notebook lead to its page; the link on that page downloads the file."""
    if page.file.src_uri == NOTEBOOK_PAGE:
        return markdown
    return markdown.replace("](tutorial.ipynb)", f"]({NOTEBOOK_PAGE})")


def page_of_root(name: str) -> str:
    """Return a page of the repository root, with links rewritten for docs/."""
    text = re.sub(r"(\]\(|src=\")docs/", r"\1", (ROOT / name).read_text(encoding="utf-8"))
    return re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md\)", lambda match: f"]({match[1].lower()}.md)", text)


def config_keys() -> str:
    """Return a page with all keys, their defaults and meanings, from the comments in the yaml files."""
    sections = [
        "# Config keys",
        "All keys with their defaults, as in the yaml files under `configs/`. `normexp train --help` prints them, too.",
        "## Every run",
        _table("", "train"),
    ]
    for group in GROUPS:
        for name in yaml_files.choices(group):
            sections += [f"## {group}={name}", _table(group, name)]
    return "\n\n".join(sections) + "\n"


def metrics() -> str:
    """Return a page with all metrics and their meanings, as `normexp metrics` prints them."""
    intro = """\
# Metrics

The metrics of a run, as they are called in `metrics.jsonl`, in TensorBoard and after `--metric`. `LAYER` is the name of a layer,
`PERCENT` one of 50, 80, 90, 95 and 99. `normexp metrics RUN` prints those that a run logged, with their last values.

## Every run"""
    pages = {intro: MEANINGS, "## Probes\n\n[Probes](probes.md) explains them in detail.": meanings()}
    sections = [
        f"{head}\n\n{_rows(('metric', 'meaning'), [(f'`{tag}`', meaning) for tag, meaning in content.items()])}"
        for head, content in pages.items()
    ]
    return "\n\n".join(sections) + "\n"


def _table(group: str, name: str) -> str:
    """The keys of a yaml file, after the comment on its own name."""
    keys, prefix = yaml_files.explained(group, name), f"{group}." if group else ""
    _, about = keys.pop("name") if prefix else ("", "")
    rows = [(f"`{prefix}{key}`", f"`{value}`", comment) for key, (value, comment) in keys.items()]
    table = _rows(("key", "default", "meaning"), rows) if rows else "No keys of its own."
    return f"{about[0].upper()}{about[1:]}.\n\n{table}" if about else table


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
