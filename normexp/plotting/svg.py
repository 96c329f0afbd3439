"""Matplotlib figures as `<svg>` elements of an HTML page."""

import re
from xml.etree import ElementTree

from normexp.plotting.style import DrawnFigure, encode_figure

GID = re.compile(r"s(x|\d+)-\d+")
"""Ids that `Canvas.mark` gives; the first part becomes the class by which the page hides a line."""


def inline_svg(drawn: DrawnFigure) -> str:
    """The figure as an `<svg>` element of an HTML page, with ids of its own and tooltips. Needs a `figure_style` context.

    Artists of line i have the class s{i}.
    """
    for background in (drawn.figure.patch, *(axes.patch for axes in drawn.figure.axes)):
        background.set_visible(False)
    root = ElementTree.fromstring(encode_figure(drawn.figure, "svg", drawn.title))
    for element in root.iter():  # HTML needs no XML namespaces
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    for parent in (root, *root.iter("defs")):
        for child in [child for child in parent if child.tag in ("metadata", "style")]:
            parent.remove(child)  # a style element would apply to the whole page
    for element in root.iter():
        _localize(element, drawn)
    width, height = (round(72 * size) for size in drawn.figure.get_size_inches())
    root.attrib = {
        "id": drawn.name,
        "role": "img",
        "aria-label": drawn.title,
        "viewBox": f"0 0 {width} {height}",
        "style": f"max-width:{width * 1.9:.0f}px",
        "class": f"{'wide' if drawn.wide else 'narrow'}{'' if drawn.recolor else ' own-colors'}",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _localize(element: ElementTree.Element, drawn: DrawnFigure) -> None:
    """Prefix ids and references with the figure's name, turn a marked group's id into class and tooltips, round its path."""
    if element.tag == "g":
        gid = element.attrib.pop("id", "")
        if mark := GID.fullmatch(gid):
            element.set("class", f"s{mark[1]}")
            tips = drawn.tips.get(gid, [])
            points = [element] if len(tips) == 1 else list(element.iter("use"))
            for point, tip in zip(points, tips, strict=False):
                title = ElementTree.Element("title")
                title.text = tip
                point.insert(0, title)
    elif "id" in element.attrib:
        element.set("id", f"{drawn.name}-{element.get('id')}")
    for key in ("href", "clip-path"):
        if key in element.attrib:
            element.set(key, element.attrib[key].replace("#", f"#{drawn.name}-", 1))
    if "url(#" in element.get("style", ""):  # a hatch
        element.set("style", element.attrib["style"].replace("url(#", f"url(#{drawn.name}-"))
    if "d" in element.attrib:
        element.set("d", re.sub(r"(\.\d{2})\d+", r"\1", element.attrib["d"]))  # 0.01 pt; halves the file
