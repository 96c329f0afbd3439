"""Packages with entry points add norms, models, data sets and probes; a package that can't be used stops only who uses it.

The packages are installed into folders on PYTHONPATH, and used by processes of their own.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.rundir import read_metrics
from tests.conftest import ROOT
from tests.pages import PACKAGED, PAGES

EXAMPLE = ROOT / "tests/example_package"
NORM, NORM_YAML, PROBE = (
    (EXAMPLE / "normexp_example" / path).read_text(encoding="utf-8")
    for path in ("center.py", "configs/norm/center.yaml", "largest.py")
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the example package is built and installed."""
    source, folder = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", folder, source], check=True)
    return folder


def run(program, *paths):
    """Run Python code that prints JSON, with the folders on its path."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths)))}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def package(root, name, entries, files):
    """Write what pip would install of a package. entries: lines such as 'norms/mine = MODULE:ENTRY'."""
    for path, text in files.items():
        (root / name / path).parent.mkdir(parents=True, exist_ok=True)
        (root / name / path).write_text(text, encoding="utf-8")
    metadata = root / f"{name}-2.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 2.0\n")
    lines = [f"[normexp.{group}]\n{line}\n" for group, _, line in (entry.partition("/") for entry in entries)]
    (metadata / "entry_points.txt").write_text("".join(lines))


def test_the_page_shows_the_files_of_the_example():
    shown = re.findall(r"```(?:toml|python|yaml)\n(.*?)```", PAGES["extending.md"], re.S)
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in (".toml", ".py", ".yaml") and path.stat().st_size]
    assert sorted(shown) == sorted(path.read_text(encoding="utf-8") for path in files)


def test_help_and_completion_know_a_package_without_importing_it(site):
    program = """
import contextlib, io, json, sys
from normexp.cli import main
with contextlib.redirect_stdout(io.StringIO()) as text:
    main(["--help"])
light = "importlib.metadata" not in sys.modules  # a sixth of the time
from normexp.commands.completion import candidates
with contextlib.redirect_stdout(text):
    for word in ("norm=center", "model", "data", "probe"):
        main(["help", word])
    main(["metrics"])
lines = "norm=c", "norm=center norm.s", "model=wide model.u", "data=s", "probe.la", "norm.position=", "activation=so"
found = [candidates(f"normexp train {line}") for line in lines]
print(json.dumps([text.getvalue(), found, light, [name for name in sys.modules if "normexp_example" in name]]))
"""
    text, found, light, imported = run(program, site)
    words = (
        "center, derf",
        "vit, wide",
        "stripes",
        "norm.scale=1.0",
        "factor on the centered",
        "one wide hidden layer",
    )
    for word in (*words, "probe.largest=true", "largest absolute weight"):
        assert word in text, word
    assert [names[:1] for names in found[:4]] == [["norm=center"], ["norm.scale="], ["model.units="], ["data=stripes"]]
    assert "probe.largest=" in found[4]
    assert found[5] == ["norm.position=pre", "norm.position=post", "norm.position=input"]
    assert found[6] == ["activation=softsign"]
    assert light
    assert not imported


def test_all_kinds_train_and_later_commands_name_the_package_if_it_is_gone(site, capsys):
    words = ["train", "norm=center", "norm.scale=2", "model=wide", "data=stripes", "activation=softsign"]
    words += ["init=kaiming", "steps=3", "name=one"]
    program = f"""
import json
import normexp
from normexp.cli import main
code = main({words})
model = normexp.load("runs/one").model()
print("\\n" + json.dumps([code, [type(module).__name__ for module in model.modules()]]))
"""
    code, modules = run(program, site)
    assert code == 0
    assert "Center" in modules
    assert read_metrics(Path("runs/one"))[-1]["largest/fc1"] > 0
    environment = json.loads(Path("runs/one/environment.json").read_text())
    assert environment["packages"]["normexp-example"] == "1.0"
    assert {*environment["components"]} == {
        "norm=center",
        "model=wide",
        "data=stripes",
        "activation=softsign",
        "probe.largest",
    }
    assert main(["report", "runs/one"]) == 0
    for command in (["resume", "runs/one", "steps=9"], ["eval", "runs/one"]):
        assert main(command) == 2
        assert "comes from the package normexp-example 1.0, which is not installed" in capsys.readouterr().err


@pytest.mark.long
def test_the_commands_of_the_page_work_sweeps_included(site, capsys):
    commands = [shlex.split(line)[1:] + ["steps=3", "jobs=2"] * (" train " in line) for line in PACKAGED]
    program = f"""
import json
from normexp.cli import main
codes = [main(words) for words in {commands}]
print("\\n" + json.dumps([*codes, main(["resume", "runs/example"])]))
"""
    assert run(program, site) == [0] * 4
    assert main(["report", "runs/example"]) == 0
    assert "center" in capsys.readouterr().out
    assert main(["resume", "runs/example"]) == 2
    assert "comes from the package normexp-example 1.0, which is not installed" in capsys.readouterr().err


def test_components_that_cannot_be_used_are_named(tmp_path, site):
    def norm(name, text=NORM, yaml=NORM_YAML, target="it:ENTRY"):
        """A package with a norm, both of this name."""
        files = {"__init__.py": "", "it.py": text.replace('"center"', f'"{name}"')}
        files |= {f"configs/norm/{name}.yaml": yaml.replace("center", name)} if yaml else {}
        package(tmp_path, name, [f"norms/{name} = {name}.{target}"], files)

    norm("broken", "import no_such_module")
    norm("exits", "raise SystemExit")
    norm("typed", target="it:CenterConfig")
    norm("no_yaml", yaml=None)
    norm("named", NORM.replace('"center"', '"other"'))
    norm("Upper")
    norm("more", yaml=NORM_YAML + "extra: 1\n")
    norm("fewer", yaml=NORM_YAML.replace("scale: 1.0", "# scale"))
    norm("invalid", yaml="name: [")
    norm("cyclic", yaml="defaults: [center]\nname: center\n")
    norm("nested", yaml="defaults: [{center: 1}]\nname: center\n")
    norm("listed", yaml=NORM_YAML.replace('layers: ["*"]', 'layers:\n  - "*"'))
    package(tmp_path, "absent", ["norms/absent = nowhere:ENTRY"], {})
    package(tmp_path, "twice", ["norms/center = more.it:ENTRY", "norms/gn = more.it:ENTRY"], {})
    probes = [f"probes/{name} = probes.it:Largest" for name in ("every", "jumps", "A-b")]
    files = {"__init__.py": "", "it.py": PROBE, "configs/probe/every.yaml": "every: true\n"}
    package(tmp_path, "probes", [*probes, "probes/typo = probes.it:Smallest"], files)
    package(tmp_path, "bent", ["activations/bent = broken.it:ENTRY", "activations/kinked = more.it:ENTRY"], {})
    expected = {
        "activation=bent": "activation=bent of the package bent 2.0 can't be imported",
        "activation=kinked": "activation=kinked of the package bent 2.0 must be a normexp.models.activations.Activation, not",
        "norm=broken": "norm=broken of the package broken 2.0 can't be imported (ModuleNotFoundError: No module named "
        "'no_such_module')",
        "norm=absent": "norm=absent of the package absent 2.0 can't be imported",
        "norm=exits": "norm=exits of the package exits 2.0 can't be imported (SystemExit)",
        "norm=typed": "norm=typed of the package typed 2.0 must be a normexp.norms.base.Norm, not type.",
        "norm=no_yaml": "norm=no_yaml of the package no-yaml 2.0 has no yaml file configs/norm/no_yaml.yaml in the folder",
        "norm=named": "norm=named of the package named 2.0: its entry is named other",
        "norm=Upper": "norm=Upper of the package Upper 2.0: its name is Upper, but a name has lower-case letters",
        "norm=more": "more.yaml has the key extra, which CenterConfig lacks",
        "norm=fewer": "fewer.yaml lacks the key scale of CenterConfig",
        "norm=invalid": "invalid.yaml can't be read",
        "norm=cyclic": "cyclic.yaml can't be read",
        "norm=nested": "nested.yaml can't be read",
        "norm=listed": "listed.yaml must have one line per key",
        "norm=center": "norm=center is ambiguous: the package twice 2.0 and the package normexp-example 1.0 have a norm",
        "norm=gn": "norm=gn is ambiguous: normexp and the package twice 2.0 have a norm of this name. Uninstall the package.",
        "probe.typo=true": "probe.typo of the package probes 2.0 can't be imported",
        "probe.jumps=true": "probe.jumps is ambiguous",
    }
    program = f"""
import json
import normexp
from normexp.config import ConfigError
def message(word):
    try:
        normexp.train(word, "model=mlp", "steps=1", quiet=True)
    except ConfigError as error:
        return str(error)
print(json.dumps([message(word) for word in {[*expected, "norm=ln"]}]))
"""
    *messages, none = run(program, tmp_path, site)
    for part, message in zip(expected.values(), messages, strict=True):
        assert part in (message or ""), message
    assert none is None
    assert [path.name for path in Path("runs").iterdir() if "norm=ln" not in path.name] == []


def test_a_broken_probe_stops_a_sweep_before_it_is_written_and_can_be_switched_off(tmp_path):
    files = {"__init__.py": "", "it.py": "import no_such_module", "configs/probe/mine.yaml": "mine: true  # mine\n"}
    package(tmp_path, "broken", ["probes/mine = broken.it:Mine"], files)
    program = """
import json
from normexp.cli import main
one = ["train", "model=mlp", "steps=1"]
print("\\n" + json.dumps([main([*one, "-m", "norm=none,ln"]), main(one), main([*one, "probe.mine=false", "name=off"])]))
"""
    assert run(program, tmp_path) == [2, 2, 0]
    assert [path.name for path in Path("runs").iterdir()] == ["off"]
