"""README.md, CONTRIBUTING.md and the pages in docs/ name files, links and keys that exist, and leave out none."""

import re

from tests.conftest import ROOT
from tests.pages import PAGES


def test_the_page_of_checks_names_tests_that_exist():
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)`", page)
    assert len(named) > 20
    assert all((ROOT / path).exists() for path in named)


def test_the_page_of_the_architecture_names_files_and_code_that_exist():
    page = PAGES["architecture.md"]

    def find(path):
        return (ROOT if path.startswith(("configs/", "docs/", "tests/", "scripts/")) else ROOT / "normexp") / path

    paths = {path for path in re.findall(r"`([\w./]+(?:\.py|\.yaml|\w/))`", page) if "NAME" not in path}
    assert len(paths) > 50
    assert [path for path in paths - {"normexp/"} if not find(path).exists()] == []
    places = re.findall(r"((?:`\w+`(?: and |, )?)+) in `([a-z_/]+\.py)`", page)
    assert len(places) > 9
    for names, path in places:
        code = find(path).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names.replace(" and ", " ")):
            assert re.search(rf"^((    )?def |class |)(\w+, )*{name}\b", code, re.M), f"{path} does not define {name}"


def test_links_lead_to_pages_and_headings_that_exist():
    links = 0
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text):
            page, _, anchor = "".join(target).partition("#")
            if page.startswith("https://") or (not page and not anchor):
                continue
            links += 1
            file = (path.parent / page).resolve() if page else path
            assert file.is_file(), f"{path.name}: {target}"
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M) if anchor else []
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in slugs, f"{path.name}: {target}"
    assert links > 40


def test_the_readme_is_one_page():
    assert PAGES["README.md"].count("\n") <= 150


def test_the_site_has_every_page():
    """In its navigation, so that none is forgotten."""
    named = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    generated = {"index.md", "contributing.md", "changelog.md", "config-keys.md", "metrics.md", "python-functions.md"}
    generated.add("notebook.md")
    assert named == generated | {path.name for path in (ROOT / "docs").glob("*.md")}


def test_every_key_has_a_comment():
    from normexp.config import GROUPS

    files = [
        ROOT / "configs" / "train.yaml",
        *(path for group in GROUPS for path in ROOT.glob(f"configs/{group}/*.yaml")),
    ]
    lines = [f"{file.name}: {line}" for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    keys = [line for line in lines if re.match(r"\S+ (?!defaults:|hydra:)\w+:", line)]
    assert len(keys) > 100
    assert [line for line in keys if "  # " not in line and " name: " not in line] == []


def test_every_key_and_choice_is_in_the_page_of_the_configuration():
    from normexp.compose.choices import known_keys
    from normexp.config import GROUPS, yaml_files

    page = PAGES["configuration.md"]
    table = page.split("| their keys |")[1].split("\n\n")[0]
    rows = {cells[1].strip(" `"): cells[2:4] for line in table.splitlines() if len(cells := line.split("|")) > 3}
    for group in GROUPS:
        choices, keys = (re.findall(r"`(\w+)`", cell) for cell in rows[group])
        assert sorted(choices) == yaml_files.choices(group)
        assert choices[0] == yaml_files.default_choice(group)
        assert set(keys) == {key.split(".")[1] for key in known_keys() if key.startswith(f"{group}.")}
    for key in known_keys():
        assert f"`{key.rpartition('.')[2]}`" in page
