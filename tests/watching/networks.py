"""Networks that normexp did not build, and loops that train them."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """As in torchvision's ResNet: one ReLU module, called twice, in place."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)


class ResNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv1, self.layer1 = nn.Conv2d(1, width, 3), nn.Sequential(Block(width), Block(width))
        self.unused, self.dropout, self.fc = nn.Linear(3, 3), nn.Dropout(0.2), nn.Linear(width, 10)

    def forward(self, x):
        return self.fc(self.dropout(self.layer1(self.conv1(x)).mean((2, 3))))


class MyRMSNorm(nn.Module):
    """As in transformers: known by its name only."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(width)), 1e-6

    def forward(self, hidden_states):
        scale = (hidden_states.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()
        return self.weight * hidden_states * scale, scale


class Transformer(nn.Module):
    """Tokens (B, T, D), inputs and outputs in dicts, the embedding's weight shared with the head, modules called by keyword."""

    def __init__(self, width=12, words=17):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(words, width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.mlp = nn.ModuleDict({"up": nn.Linear(width, 20), "act": nn.GELU(), "down": nn.Linear(20, width)})
        self.last, self.dropout, self.head = MyRMSNorm(width), nn.Dropout(0.2), nn.Linear(width, words, bias=False)
        self.position = nn.Parameter(torch.zeros(6, width))
        self.head.weight = self.embedding.weight

    def forward(self, batch):
        x = self.embedding(batch["ids"]) + self.position
        y = self.norm(input=x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.dropout(self.mlp["down"](self.mlp["act"](self.mlp["up"](x))))
        return {"logits": self.head(self.last(hidden_states=x)[0])}


def resnet(batch=8):
    torch.manual_seed(0)
    model = ResNet()
    inputs, labels = torch.randn(batch, 1, 8, 8), torch.randint(10, (batch,))
    return model, lambda net: F.cross_entropy(net(inputs), labels)


def transformer(batch=8):
    torch.manual_seed(0)
    model, ids = Transformer(), torch.randint(17, (batch, 6))
    return model, lambda net: F.cross_entropy(net({"ids": ids})["logits"].flatten(0, 1), ids.flatten())


def train(model, loss_of, steps, probes=None, lr=0.1):
    """Plain SGD with momentum; returns the losses."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if probes is not None:
            probes.step(loss=loss, lr=lr)
    return losses
