"""Training on the measure itself: scikit-learn's macro-F1 of a batch in which half of the classes are rare.

One number judges the batch by its predicted classes, so each is credited with the class it was drawn as. Beside it
cross-entropy and the formula with probabilities for counts ("soft F1"): who has such a surrogate should take it.
`python macro_f1.py 8` averages over eight seeds.
"""

import copy
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from torch import Tensor, nn

import esgrad


def macro_f1(predicted: Tensor, digits: Tensor) -> float:
    """The mean over the ten classes of F1, predictions and digits [B]."""
    return f1_score(digits, predicted, labels=range(10), average="macro", zero_division=0.0)


def soft_f1(logits: Tensor, digits: Tensor) -> Tensor:
    """The same of probabilities: 2 Σ p y / Σ (p + y) for each class."""
    p, y = logits.softmax(1), nn.functional.one_hot(digits, 10)
    return (2 * (p * y).sum(0) / (p + y).sum(0)).mean()


def train(network: nn.Module, loss: object, rate: float, images: Tensor, digits: Tensor, batches: Tensor) -> nn.Module:
    """Adam on a copy."""
    optimizer = torch.optim.Adam((network := copy.deepcopy(network)).parameters(), rate)
    for batch in batches:
        optimizer.zero_grad()
        loss(network(images[batch]), digits[batch]).backward()
        optimizer.step()
    return network


def run(seed: int) -> dict[str, float]:
    """Train by cross-entropy, then on from there by each loss on the same batches: macro-F1 on new pictures."""
    torch.manual_seed(seed)
    images, digits = (torch.tensor(each) for each in load_digits(return_X_y=True))
    kept = torch.randperm(len(digits))
    kept = kept[(digits[kept] < 5) | (torch.arange(len(digits)) % 10 == 0)]  # a tenth of the digits 5 to 9
    images, digits, batches = images[kept].float() / 16, digits[kept], torch.randint(600, (200, 64))
    box = esgrad.blackbox(macro_f1, num_samples=30, noise_variance=1.6449, noise="gumbel", credit="class", seed=seed)
    cross_entropy, data = nn.functional.cross_entropy, (images, digits)
    start = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    networks = {"at the start": (start := train(start, cross_entropy, 0.01, *data, batches[:100]))}
    losses = {"soft F1": lambda x, y: -soft_f1(x, y), "macro-F1 by ES": lambda x, y: -box(x, y)}
    rates = {"cross-entropy": 0.03, "soft F1": 0.01, "macro-F1 by ES": 0.01}  # the best of four on eight other seeds
    for name, rate in rates.items():
        networks[name] = train(start, losses.get(name, cross_entropy), rate, *data, batches[100:])
    return {name: macro_f1(network(images[600:]).argmax(1), digits[600:]) for name, network in networks.items()}


if __name__ == "__main__":
    runs = [run(seed) for seed in range(int(sys.argv[1]) if sys.argv[1:] else 1)]
    print(*[f"{name:15} {np.mean([each[name] for each in runs]):.3f}" for name in runs[0]], sep="\n")
