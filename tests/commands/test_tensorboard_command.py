"""`normexp tensorboard`: its defaults, and the folders that it shows. That it serves them is tested in test_cli.py."""

import zipfile
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.commands import tensorboard


def test_the_script_changes_elements_that_tensorboard_has():
    import tensorboard as installed

    with zipfile.ZipFile(Path(installed.__file__).with_name("webfiles.zip")) as files:
        script = files.read("index.js").decode()
    for name in ("tf-custom-scalar-dashboard", "tf-scalar-dashboard", "tf-multi-checkbox"):
        assert f'"{name}"' in tensorboard.SCRIPT
        assert f'("{name}")' in script
    assert '"_smoothingWeight",{defaultValue:.6}' in script
    computed = '"computeOutSelected(namesMatchingRegex.*, selectionState.*)"'
    assert computed in script


@pytest.mark.parametrize(
    ("folders", "links"),
    [
        (["runs/none"], {"none"}),
        (["runs/none", "runs/bn"], {"none", "bn"}),
        (["runs/none", "runs/none"], {"none"}),
        (["runs/none", "old/none"], {"runs/none", "old/none"}),
        (["runs/sweep", "runs/sweep/a"], {"sweep"}),
    ],
)
def test_runs_are_named_by_the_shortest_path_that_tells_them_apart(folders, links):
    for folder in ("runs/none", "runs/bn", "old/none", "runs/sweep/a"):
        Path(folder).mkdir(parents=True)
        Path(folder, "status.json").touch()
    with tensorboard._log_folder([Path(folder) for folder in folders]) as folder:
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink()} == links
        assert all((folder / link).is_dir() for link in links)
    assert not folder.exists()


def test_a_folder_of_runs_is_read_where_it_is():
    Path("runs/none").mkdir(parents=True)
    with tensorboard._log_folder([Path("runs")]) as folder:
        assert folder == Path("runs")


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        (0, "No runs yet"),
        (20, ""),
        (21, "21 runs. All pages but TIME SERIES show the first 20"),
        (501, "501 runs. TIME SERIES shows no run at first, other pages show the first 20"),
    ],
)
def test_very_many_runs_are_announced(runs, says):
    for i in range(runs):
        Path(f"runs/{i}").mkdir(parents=True)
        Path(f"runs/{i}/status.json").touch()
    Path("runs").mkdir(exist_ok=True)
    assert "\n".join(tensorboard._expectations([Path("runs")])).startswith(says)
    assert bool(list(tensorboard._expectations([Path("runs")]))) == bool(says)


@pytest.mark.parametrize(
    ("words", "folders", "flags"),
    [
        ([], ["runs"], []),
        (["a", "b", "--port", "7"], ["a", "b"], ["--port", "7"]),
        (["--port", "7", "a", "b"], ["a", "b"], ["--port", "7"]),
        (["--logdir", "a", "--port=7"], ["a"], ["--port=7"]),
        (["--port=7", "--logdir=a"], ["a"], ["--port=7"]),
        (["--bind_all"], ["runs"], ["--bind_all"]),
    ],
)
def test_folders_come_before_or_after_flags(words, folders, flags):
    for name in ("a", "b"):
        Path(name).mkdir()
    assert tensorboard._split(words) == ([Path(folder) for folder in folders], flags)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--prot", "6006"], "Unknown flag --prot. Did you mean --port?"),
        (["--port", "x"], "TensorBoard can't start: --port: invalid value: 'x'\n"),
        (["--port"], "TensorBoard can't start: --port: expected one argument\n"),
    ],
)
@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated")
def test_wrong_flags_of_tensorboard_get_one_sentence(words, says, capsys):
    Path("runs").mkdir()
    assert main(["tensorboard", *words]) == 2
    assert capsys.readouterr().err.startswith(f"normexp: {says}")
