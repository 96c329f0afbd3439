"""An independent reference for `normexp train data=digits`, in plain torch, NumPy and scikit-learn.

Never import normexp here: the check is worth something only while the two share no code.
"""

import functools
import math

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

VAL_SHARE = 0.1
WIDTH = 100
CHANNELS, KERNEL = (16, 32, 64), 3
MOMENTUM = 0.9
LOG_EVERY = 10


@functools.cache
def digits():
    return load_digits(return_X_y=True)


def split(seed, test):
    """Inputs and labels for training, validation and test, standardized by the training samples' mean and std.

    test: indices of the test set in scikit-learn's order.
    """
    random = np.random.RandomState(seed)
    x, y = digits()
    x_test, y_test, x, y = x[test], y[test], np.delete(x, test, axis=0), np.delete(y, test)
    x, x_val, y, y_val = train_test_split(x, y, test_size=VAL_SHARE, stratify=y, random_state=random)
    mean, std = x.mean(), x.std()
    sets = [(x, y), (x_val, y_val), (x_test, y_test)]
    return [(torch.tensor((a - mean) / std, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(b)) for a, b in sets]


def network(model, norm, depth=3, kaiming=False):
    """Layers of `linear or conv, norm, relu`, then a linear head. What has batch norm right after it has no bias.

    depth: of the mlp. kaiming: weights from N(0, 2 / fan in), biases 0 (He et al. 2015); else torch's own.
    """
    bias = {"none": True, "bn": False}[norm]
    layers, fan_in = [], {"mlp": 64, "cnn": 1}[model]
    if model == "mlp":
        layers.append(nn.Flatten())
        for _ in range(depth):
            layers += [nn.Linear(fan_in, WIDTH, bias=bias), *([] if bias else [nn.BatchNorm1d(WIDTH)]), nn.ReLU()]
            fan_in = WIDTH
    else:
        for stage, width in enumerate(CHANNELS):
            conv = nn.Conv2d(fan_in, width, KERNEL, stride=2 if stage else 1, padding=KERNEL // 2, bias=bias)
            layers += [conv, *([] if bias else [nn.BatchNorm2d(width)]), nn.ReLU()]
            fan_in = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(fan_in, 10))
    for module in net if kaiming else ():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.in_features))
            nn.init.zeros_(module.bias)
    return net


@torch.no_grad()
def evaluate(net, x, y):
    """Mean cross-entropy and accuracy in evaluation mode."""
    net.eval()
    logits = net(x)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()


def shuffled(count, batch_size, steps, generator):
    """Indices of `steps` batches: each epoch in a new order, without its incomplete last batch."""
    batches = []
    while len(batches) < steps:
        batches += torch.randperm(count, generator=generator)[: count // batch_size * batch_size].split(batch_size)
    return batches[:steps]


def descend(net, x, y, batches, lr):
    """Train on the batches by SGD with momentum, lr falling along half a cosine. Yields each step's loss and the norm of its
    gradient, before the update."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=MOMENTUM)
    for step, batch in enumerate(batches):
        loss = F.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / len(batches))) / 2
        yield loss.item(), torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item()
        optimizer.step()


def train(model, norm, seed, *, test, steps=60, lr=0.1, batch_size=64, depth=3, kaiming=False):
    """Train `model` (mlp or cnn) with `norm` (none or bn), and return its accuracies, gradient norms and losses."""
    of_weights, of_split, of_order = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(3))
    (x, y), validation, held_out = split(of_split, test)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(of_weights)
        net = network(model, norm, depth, kaiming)
    batches = shuffled(len(x), batch_size, steps, torch.Generator().manual_seed(of_order))
    losses, loss_at, grad_norm_at = [], {}, {}
    for step, (loss, grad_norm) in enumerate(descend(net, x, y, batches, lr), start=1):
        losses.append(loss)
        if step == 1 or step % LOG_EVERY == 0:
            grad_norm_at[step] = grad_norm
            loss_at[step] = sum(losses) / len(losses)  # since the entry before: step 1, then 2 to 10, 11 to 20, ...
            losses = []
    accuracies = {"test_accuracy": evaluate(net, *held_out)[1], "val_accuracy": evaluate(net, *validation)[1]}
    return {**accuracies, "grad_norm": grad_norm_at, "loss": loss_at}
