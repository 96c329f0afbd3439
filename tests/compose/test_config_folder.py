"""A user's config folder (`--config-dir`): nothing in it is imported or executed."""

from pathlib import Path

import pytest

from normexp.cli import main
from normexp.sweeps.manifest import MANIFEST, Session, write_manifest
from tests.compose.config_folder import GLOBAL, refused, write
from tests.sweeps.sweeping import SHORT

CALL = "{_target_: os.mkdir, path: marker}"
ESCAPED = '{"\\x5ftarget_": os.mkdir, path: marker}'
OPTUNA = f"{GLOBAL}defaults: [override /hydra/sweeper: optuna]\n"
HANDLER = "{version: 1, root: {handlers: [h]}, handlers: {h: {class: logging.FileHandler, filename: marker}}}"
FACTORY = "{version: 1, root: {handlers: [h]}, handlers: {h: {(): logging.FileHandler, filename: marker}}}"
EXTERNAL = (
    "{version: 1, root: {handlers: [h]}, handlers: {h: {class: logging.StreamHandler, stream: 'ext://this.module'}}}"
)


CODE = {
    "callback": f"{GLOBAL}hydra: {{callbacks: {{x: {CALL}}}}}\n",
    "escaped key": f"{GLOBAL}hydra: {{callbacks: {{x: {ESCAPED}}}}}\n",
    "launcher": f"{GLOBAL}hydra: {{launcher: {ESCAPED}}}\n",
    "inside launcher": f"{GLOBAL}hydra: {{launcher: {{temp_folder: null, more: {ESCAPED}}}}}\n",
    "sweeper": f"{GLOBAL}hydra: {{sweeper: {ESCAPED}}}\n",
    "sampler": f"{OPTUNA}hydra: {{sweeper: {{sampler: {ESCAPED}}}}}\n",
    "search space": f"{OPTUNA}hydra: {{sweeper: {{custom_search_space: os.mkdir}}}}\n",
    "of a run": f"{GLOBAL}model: {ESCAPED}\n",
    "reference": f"{GLOBAL}mine: {ESCAPED}\nhydra: {{callbacks: {{x: '${{mine}}'}}}}\n",
    "reference from launcher": f"{GLOBAL}mine: {ESCAPED}\nhydra: {{launcher: {{more: '${{mine}}'}}}}\n",
    "resolver": f"{GLOBAL}hydra: {{callbacks: {{x: '${{oc.create:{CALL}}}'}}}}\n",
    "resolver in launcher": f"{GLOBAL}hydra: {{launcher: {{more: '${{oc.create:{CALL}}}'}}}}\n",
    "shipped code elsewhere": f"{GLOBAL}defaults: [/hydra/sweeper/sampler@hydra.callbacks.x: tpe]\n",
    "path out of the folder": f"{GLOBAL}defaults: [/hydra/sweeper/sampler@hydra.callbacks.x: ../../../../outside]\n",
    "sampler out of the folder": f"{OPTUNA[:-2]}, override /hydra/sweeper/sampler: ../../../../outside]\n",
    "choices that lie": f"{GLOBAL}hydra: {{runtime: {{choices: {{hydra/sweeper: ../../x}}}}, callbacks: {{x: {ESCAPED}}}}}\n",
    "handler": f"{GLOBAL}hydra: {{job_logging: {HANDLER}}}\n",
    "hydra's handler": f"{GLOBAL}hydra: {{hydra_logging: {HANDLER}}}\n",
    "factory": f"{GLOBAL}hydra: {{job_logging: {FACTORY}}}\n",
    "module": f"{GLOBAL}hydra: {{hydra_logging: {EXTERNAL}}}\n",
    "environment": f"{GLOBAL}hydra: {{job: {{env_set: {{PYTHONSTARTUP: marker.py}}}}}}\n",
    "search path": f"{GLOBAL}hydra: {{searchpath: ['pkg://this']}}\n",
    "tag": f"{GLOBAL}lr: !!python/object/apply:os.mkdir [marker]\n",
    "params": f"{GLOBAL}hydra: {{mode: MULTIRUN, sweeper: {{params: {{hydra.launcher.temp_folder: marker, seed: '0,1'}}}}}}\n",
}


@pytest.mark.parametrize("content", CODE.values(), ids=CODE)
def test_no_key_of_a_file_is_executed(content, capsys):
    write("experiment/evil.yaml", content)
    Path("outside.yaml").write_text(f"# @package hydra.callbacks\nx: {CALL}\n")
    words = ["--config-dir", "own", "experiment=evil", *SHORT, "steps=1", "jobs=1"]
    refused(capsys, "train", *words, "-m")
    if "MULTIRUN" not in content:
        refused(capsys, "train", *words)


@pytest.mark.parametrize(
    "keys",
    [
        "setup: [mkdir marker]",
        'partition: "a\\nmkdir marker #"',
        "additional_parameters: {wrap: mkdir marker}",
        "account: '${oc.create:{_target_: os.mkdir}}'",
    ],
)
def test_commands_for_a_cluster_are_typed_not_filed(keys, capsys):
    write("experiment/evil.yaml", f"{GLOBAL}hydra: {{launcher: {{{keys}}}}}\n")
    words = ["train", "--config-dir", "own", "experiment=evil", "hydra/launcher=slurm", "steps=1"]
    for flags in ([], ["-m"]):
        assert f"hydra.launcher.{keys.split(':')[0]}" in refused(capsys, *words, *flags)
    typed = "hydra.launcher.setup=[module load cuda]"
    assert main(["train", "hydra/launcher=slurm", typed, "--cfg", "hydra"]) == 0
    assert "module load cuda" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--cfg", "hydra"], ["--info"], ["--info", "plugins"]])
def test_what_prints_a_config_refuses_it_too(flags, capsys):
    write("experiment/evil.yaml", CODE["escaped key"])
    refused(capsys, "train", "--config-dir", "own", "experiment=evil", *flags)


@pytest.mark.parametrize("flags", [[], ["-m"], ["--hydra-help"], ["--cfg", "hydra"]])
@pytest.mark.parametrize("name", ["evil", "joblib"])
def test_launchers_of_ones_own_are_refused(name, flags, capsys):
    write(f"hydra/launcher/{name}.yaml", f"# @package hydra\nhydra_logging: {HANDLER}\n")
    words = ["train", "--config-dir", "own", f"hydra/launcher={name}", *flags]
    assert "only installed launchers and sweepers can be used" in refused(capsys, *words)


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.launcher.x={_target_:os.mkdir,path:marker}",
        "+hydra.launcher.x='${oc.create:{_target_:os.mkdir,path:marker}}'",
        "+hydra/launcher@hydra.callbacks.x=joblib",
        "hydra/launcher='../../../outside'",
        "hydra.sweeper.custom_search_space=os.mkdir",
    ],
)
def test_overrides_name_no_code_either(word, capsys):
    optuna = ["hydra/sweeper=optuna"] if "search_space" in word else []
    Path("outside.yaml").write_text(f"# @package hydra.callbacks\nx: {CALL}\n")
    for flags in ([], ["-m"]):
        refused(capsys, "train", *optuna, word, *SHORT, "steps=1", "jobs=1", *flags)


@pytest.mark.parametrize("behind", ["own", "own/norm"])
def test_links_hide_nothing(behind, capsys):
    write("norm/evil.yaml", CODE["callback"] + "norm: {momentum: 0.5}\n")
    Path(behind).rename("elsewhere")
    Path(behind).symlink_to(Path("elsewhere").absolute())
    words = ["train", "--config-dir", "own", *SHORT, "steps=1", "jobs=1"]
    assert "hydra.callbacks.x._target_" in refused(capsys, *words, "norm=evil")
    # Where only one of the runs chooses it.
    assert "hydra.callbacks.x._target_" in refused(capsys, *words, "norm=bn,evil", "-m")


def test_trials_of_an_optimizer_execute_nothing(capsys):
    pytest.importorskip("optuna")
    write("norm/evil.yaml", f"{GLOBAL}hydra: {{job_logging: {HANDLER}}}\nnorm: {{name: bn}}\n")
    words = [
        "train",
        "--config-dir",
        "own",
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=1",
        *SHORT,
        "steps=1",
    ]
    assert main([*words, "hydra/launcher=basic", "name=x", "norm=choice(evil)"]) == 2
    assert "normexp: hydra.job_logging.root.handlers.0 is set by normexp" in capsys.readouterr().err
    assert not Path("marker").exists()
    assert not list(Path("runs").glob("x/*/status.json"))


def test_sweeps_that_are_resumed_refuse_it(capsys):
    write("norm/evil.yaml", CODE["escaped key"])
    folder = Path("sweep")
    folder.mkdir()
    words = ["--config-dir", "own", "-m", "norm=evil", *SHORT, "steps=1"]
    session = Session(["normexp", "train", *words], str(Path.cwd()), None, {}, local=True)
    write_manifest(folder, arguments=words, session=session)
    assert (folder / MANIFEST).exists()
    assert "hydra.callbacks.x._target_" in refused(capsys, "resume", "sweep")


def test_runs_of_claims_refuse_it(capsys):
    write("norm/evil.yaml", CODE["escaped key"])
    write(
        "claim/mine.yaml",
        "kind: experiment\nstatement: x\nsource: x\nseeds: [1]\n"
        "sweep: {base: [steps=2, data.train_size=200], arms: {a: [norm=evil], b: [norm=none]}}\n"
        "rule: [{what: x, measure: test/accuracy, as: difference, compare: [a, b], is: '>=', confirm: 0.02, refute: 0.0}]\n",
    )
    assert main(["claims", "run", "mine", "--config-dir", "own"]) == 2
    error = capsys.readouterr().err
    assert "hydra.callbacks.x._target_" in error
    assert error.count("\n") == 1
    assert not Path("marker").exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["bench", "describe"])
def test_commands_without_config_folders_refuse_it(command, capsys):
    refused(capsys, command, "--config-dir", "own")
    refused(capsys, command, "+hydra.launcher.x={_target_:os.mkdir,path:marker}")
    refused(capsys, command, "hydra/launcher='../../../outside'")


def test_experiments_may_set_what_a_sweep_needs(capsys):
    write(
        "experiment/cluster.yaml",
        f"{GLOBAL}hydra: {{mode: MULTIRUN, launcher: {{partition: gpu, timeout_min: 9}}, sweeper: {{params: {{seed: 0}}}}}}\n",
    )
    assert main(["train", "--config-dir", "own", "experiment=cluster", "hydra/launcher=slurm", "--cfg", "hydra"]) == 0
    printed = capsys.readouterr().out
    assert "partition: gpu" in printed
    assert "timeout_min: 9" in printed


@pytest.mark.parametrize(
    "keys", ["run: {dir: x}", "sweep: {dir: x}", "sweep: {subdir: x}", "job: {chdir: true}", "output_subdir: x"]
)
@pytest.mark.parametrize("flags", [[], ["-m"], ["--cfg", "job"]])
def test_run_directories_are_named_with_runs_dir_and_name(keys, flags, capsys):
    write("experiment/mine.yaml", f"{GLOBAL}hydra: {{{keys}}}\n")
    says = refused(capsys, "train", "--config-dir", "own", "experiment=mine", "steps=1", *flags)
    assert f"hydra.{keys.split(':')[0]}" in says
    assert "use runs_dir and name" in says
    assert not Path("x").exists()
