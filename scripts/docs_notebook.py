"""The page of docs/tutorial.ipynb in the site of mkdocs, with the outputs that the file has."""

import base64
import json
from pathlib import Path

DOWNLOAD = "[Download this notebook](tutorial.ipynb)"


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Convert a notebook to Markdown. Returns the page and its images by file name."""
    parts: list[str] = []
    images: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(_fence("sh" if source.startswith("!") else "python", source))
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"notebook-{len(images) + 1}.png"
                images[name] = base64.b64decode(data["image/png"])
                shown = f"![{cell['metadata']['alt']}]({name})"
            else:
                shown = _fence("text", "".join(output.get("text") or data["text/plain"]))
            parts.append(f'<div class="output" markdown="1">\n\n{shown}\n\n</div>')
    return "\n\n".join([parts[0], DOWNLOAD, *parts[1:]]) + "\n", images


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
