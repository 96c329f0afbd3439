"""Components are found by their ENTRY, without being imported."""

from normexp.registry import names


def test_a_component_is_a_module_or_a_package_with_an_entry(tmp_path):
    for path, text in {
        "plain.py": "ENTRY = 1\n",
        "folder/__init__.py": "from .inner import ENTRY_CLASS\nENTRY: int = 2\n",
        "folder/inner.py": "ENTRY_CLASS = 3\n",
        "helper.py": "raise RuntimeError('imported')\n\ndef use(ENTRY): ...\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert names([str(tmp_path)]) == ["folder", "plain"]
    assert names([str(tmp_path)], order=["plain", "absent"]) == ["plain", "folder"]
