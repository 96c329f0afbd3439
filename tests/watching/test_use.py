"""`normexp.watch` in other people's loops: amp, compiled networks, wrong use, and what reads its run directory."""

import copy
import re

import pytest
import torch
from torch import nn

from normexp.cli import main
from normexp.config import ConfigError
from normexp.plotting.labels import abbreviate
from normexp.rundir import read_config, read_metrics, read_status
from normexp.watching import watch
from tests.conftest import ROOT
from tests.watching.networks import resnet, train, transformer

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/watch.md").read_text(encoding="utf-8"), re.S)

LAZY = nn.Sequential(nn.LazyLinear(3), nn.ReLU())


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (3, {}, "watch needs a torch network (nn.Module), not int."),
        (nn.Flatten(), {}, "No layers to watch in Flatten"),
        (LAZY, {}, "0 has no weights yet: pass one batch through the network before watching it."),
        (nn.DataParallel(nn.Linear(2, 2)), {}, "DataParallel trains copies of the network"),
        (nn.ReLU(), {"every": 0}, "every=0: every must be an integer >= 1."),
        (nn.ReLU(), {"samples": 3}, "samples=3: samples must be an integer >= 64."),
        (nn.ReLU(), {"probes": ["drifts"]}, "unknown probe drifts. Did you mean drift?"),
        (nn.ReLU(), {"probes": "drift"}, "probes must be a list, such as [drift]."),
        (nn.ReLU(), {"probes": ["noise"]}, "noise needs batch_size"),
        (nn.ReLU(), {"probes": ["landscape"]}, "only works with normexp train"),
        (resnet()[0], {"layers": ["layer2.*"]}, "no layer matches layer2.*."),
        (nn.ReLU(), {"config": {"lr": torch.ones(2)}}, "config: lr must be a number, a string"),
        (nn.ReLU(), {"directory": "runs/a:b"}, "a name can contain letters"),
    ],
)
def test_wrong_arguments(model, options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        watch(model, **options)
    assert sentence in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_wrong_calls(tmp_path):
    model, _ = resnet()
    probes = watch(model, directory=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"loss must be a single number, not a tensor of shape \(3,\)"):
        probes.step(loss=torch.ones(3))
    with pytest.raises(ConfigError, match="lr must be a number, not list"):
        probes.step(lr=[0.1])
    probes.close()
    with pytest.raises(ConfigError, match="This watch is closed"):
        probes.step()


def test_more_backward_passes_than_expected(tmp_path):
    model, loss_of = resnet()
    with watch(model.train(), directory=tmp_path / "run") as probes:
        loss_of(model).backward()
        loss_of(model).backward()
        with pytest.warns(UserWarning, match="step 1 had 2 backward passes: pass accumulate=2"):
            probes.step()


def test_a_gradscaler_is_divided_out(tmp_path):
    model, loss_of = transformer()
    model.dropout.p = model.attention.dropout = 0.0
    found = []
    for name, scaler in (("plain", None), ("scaled", torch.amp.GradScaler("cpu", init_scale=1024.0))):
        net = copy.deepcopy(model).train()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        with watch(net, directory=tmp_path / name, scaler=scaler) as probes:
            loss = loss_of(net)
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            probes.step(loss=loss)
        found.append({k: v for k, v in read_metrics(probes.directory)[0].items() if k.startswith(("grad", "update"))})
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_compiled_networks(tmp_path):
    """Steps with a snapshot run without the compiler; other steps are compiled."""
    model, loss_of = resnet()
    plain = copy.deepcopy(model)
    torch.manual_seed(1)
    losses = train(plain, loss_of, 5)
    torch.manual_seed(1)
    compiled = torch.compile(model, backend="eager")
    with watch(compiled, every=3, early=0, directory=tmp_path / "run") as probes:
        assert train(compiled, loss_of, 5, probes) == losses
    steps = [line["step"] for line in read_metrics(probes.directory) if "grad_flow/layer1.0.bn1" in line]
    assert steps == [0, 3]


def test_reports_read_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for norm, seed in (("bn", 0), ("bn", 1), ("none", 0)):
        model, loss_of = resnet()
        if norm == "none":
            model.layer1[0].bn1 = nn.Identity()
        config = {"norm": norm, "seed": seed}
        with watch(model, directory=f"runs/mine/{norm}", layers=["layer1.*"], config=config) as probes:
            train(model, loss_of, 3, probes)
            probes.log({"test/accuracy": 0.5 + seed / 10})
    assert main(["report", "runs/mine", "--html", "page.html"]) == 0
    shown = capsys.readouterr().out
    assert "55.00 % ± 7.07" in shown  # bn, over two seeds
    page = (tmp_path / "page.html").read_text()
    assert "layer1.0.conv2" in page
    assert main(["runs"]) == 0
    assert main(["metrics", "runs/mine/bn", "--layers"]) == 0
    assert "activation_in/layer1.0.relu" in capsys.readouterr().out
    assert main(["resume", "runs/mine/bn"]) == 2
    assert main(["eval", "runs/mine/bn"]) == 2
    assert capsys.readouterr().err.count("was recorded by normexp.watch, which saves no network") == 2


@pytest.mark.parametrize("block", [block for block in BLOCKS if "import torch" in block], ids=["loop"])
def test_the_example_of_the_docs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert read_status(tmp_path / "runs" / "mine")["step"] == 200


def test_without_settings_each_run_is_shown(tmp_path):
    """Runs that report nothing about themselves are not taken for repetitions of one another."""
    model, _ = resnet()
    for name in ("mine", "mine-2"):
        watch(model, directory=tmp_path / "mine").close()
        assert read_config(tmp_path / name)["run"] == name


def test_long_names_are_abbreviated():
    """From the start, since the number and the end tell layers apart."""
    for limit, shown in ((40, "encoder.layer.0.output.dense"), (23, "e.layer.0.output.dense"), (1, "e.l.0.o.dense")):
        assert abbreviate("encoder.layer.0.output.dense", lambda text, limit=limit: len(text) <= limit) == shown
