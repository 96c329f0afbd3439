"""The callbacks for Lightning and Hugging Face's Trainer, in the real libraries."""

import contextlib
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from normexp.data.download import import_torchvision
from normexp.rundir import read_metrics, read_status

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the libraries
    pytest.mark.xdist_group("callbacks"),
]


@pytest.fixture(scope="module", autouse=True)
def _torchvision():
    with contextlib.suppress(ImportError):
        import_torchvision()  # both libraries import it


def data():
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(48, 5, generator=generator), torch.randint(3, (48,), generator=generator))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="needs lightning", exc_type=ImportError)
    from normexp.watching.lightning import WatchCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, _):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(*callbacks):
        module = Module()
        torch.manual_seed(1)
        trainer = lightning.Trainer(
            max_epochs=2,
            accumulate_grad_batches=2,
            gradient_clip_val=1e-3,
            callbacks=list(callbacks),
            **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
            accelerator="cpu",
        )
        trainer.fit(module, DataLoader(data(), batch_size=16), DataLoader(data(), batch_size=24))
        return module.state_dict()

    plain, callback = fit(), WatchCallback(every=1, directory=tmp_path / "run")
    watched = fit(callback)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    lines = read_metrics(tmp_path / "run")
    assert {"train/loss", "lr", "grad_flow/net.0", "norm_out/net.1/mean"} <= {tag for line in lines for tag in line}
    # 3 batches an epoch: an update after two of them, another after the last
    assert [line["step"] for line in lines if "val/loss" in line] == [2, 4]
    assert all(line["grad_norm/total"] > 0.01 for line in lines if "grad_norm/total" in line)  # before clipping
    assert (read_status(tmp_path / "run")["state"], read_status(tmp_path / "run")["step"]) == ("completed", 4)


class Wrapped(nn.Module):
    """As the Trainer expects a model: the loss is a part of the output."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def test_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers", exc_type=ImportError)
    pytest.importorskip("accelerate", reason="needs accelerate")
    from normexp.watching.transformers import WatchCallback

    rows = [{"x": x, "labels": y} for x, y in data()]

    def train(*callbacks):
        model = Wrapped()
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "hf"),
            num_train_epochs=2,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=2,
            max_grad_norm=1e-3,
            logging_steps=1,
            eval_strategy="epoch",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(
            model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=list(callbacks)
        )
        trainer.train()
        return copy.deepcopy(model.state_dict())

    plain, callback = train(), WatchCallback(every=1, directory=tmp_path / "run")
    watched = train(callback)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    lines = read_metrics(tmp_path / "run")
    assert {"train/loss", "lr", "grad_flow/net.0", "norm_out/net.1/mean"} <= {tag for line in lines for tag in line}
    assert [line["step"] for line in lines if "val/loss" in line] == [2, 4]
    norms = {line["step"]: line["grad_norm/total"] for line in lines if "grad_norm/total" in line}
    assert min(norms[0], norms[3]) > 0.01  # before clipping
    assert norms[4] == pytest.approx(1e-3, rel=0.01)  # the last batch of an epoch ends its accumulation early
    assert (read_status(tmp_path / "run")["state"], read_status(tmp_path / "run")["step"]) == ("completed", 4)
