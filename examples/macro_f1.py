"""Training on the measure itself: scikit-learn's macro-F1 of a batch in which half of the classes are rare.

One number judges the batch by its predicted classes, so each prediction is credited with the class it was drawn as.
Beside it cross-entropy and the nearest differentiable surrogate: the formula with probabilities for counts ("soft F1").
"""

import copy

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


def train(network: nn.Module, loss: object, images: Tensor, digits: Tensor) -> nn.Module:
    """Adam on a copy of the network, 100 steps of 64 pictures."""
    optimizer = torch.optim.Adam((network := copy.deepcopy(network)).parameters(), 0.01)
    for batch in torch.randint(len(images), (100, 64)):
        optimizer.zero_grad()
        loss(network(images[batch]), digits[batch]).backward()
        optimizer.step()
    return network


def main() -> None:
    """Train by cross-entropy, then on from there by each loss, and compare macro-F1 on new pictures."""
    images, digits = load_digits(return_X_y=True)
    kept = (digits < 5) | (np.arange(len(digits)) % 10 == 0)  # a tenth of the digits 5 to 9
    images, digits = torch.tensor(images[kept], dtype=torch.float32) / 16, torch.tensor(digits[kept])
    box = esgrad.blackbox(macro_f1, num_samples=30, noise_variance=1.6449, noise="gumbel", credit="class", seed=0)
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    start = train(start, nn.functional.cross_entropy, images[:700], digits[:700])
    trained = {
        "at the start": start,
        "cross-entropy": train(start, nn.functional.cross_entropy, images[:700], digits[:700]),
        "soft F1": train(start, lambda logits, y: -soft_f1(logits, y), images[:700], digits[:700]),
        "macro-F1 by ES": train(start, lambda logits, y: -100 * box(logits, y), images[:700], digits[:700]),
    }
    for name, network in trained.items():
        print(f"{name:15} {macro_f1(network(images[700:]).argmax(1), digits[700:]):.3f}")


if __name__ == "__main__":
    main()
