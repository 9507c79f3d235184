"""A network reads two digits, plain Python adds them, and only "sum right or wrong" comes back.

The lecture's picture of a stage that has no derivative. Beside it what a differentiable program would do here: the
probability of the right sum, by a convolution of the two softmaxes, which asks to know that the box adds.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import esgrad


def judge(digits: Tensor, sums: Tensor) -> list[bool]:
    """The stage nobody differentiates: digits [n, 2], sums [n]."""
    return [left + right == total for (left, right), total in zip(digits.tolist(), sums.tolist(), strict=True)]


box = esgrad.blackbox(judge, num_samples=100, noise_variance=1.6449, noise="gumbel", credit="class", seed=0)


def by_queries(logits: Tensor, sums: Tensor) -> Tensor:
    """Minus the share of right sums: logits [B, 2, 10], one 0/1 answer for both readings."""
    return -box(logits, sums).mean()


def by_convolution(logits: Tensor, sums: Tensor) -> Tensor:
    """Minus the mean log probability of the right sum, exact."""
    left, right = logits.softmax(-1).unbind(1)
    together = torch.stack([nn.functional.pad(left * right[:, i : i + 1], (i, 9 - i)) for i in range(10)]).sum(0)
    return -together.gather(1, sums[:, None]).log().mean()


def train(loss: object, steps: int = 500) -> float:
    """The share of right sums on pairs that were not trained on."""
    images, digits = load_digits(return_X_y=True)
    images, digits = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(digits)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    pairs = torch.randint(1400, (steps, 32, 2))
    for pair in pairs:
        optimizer.zero_grad()
        loss(network(images[pair]), digits[pair].sum(1)).backward()
        optimizer.step()
    new = torch.randint(1400, len(images), (4000, 2))
    return (network(images[new]).argmax(-1).sum(1) == digits[new].sum(1)).float().mean().item()


if __name__ == "__main__":
    print(f"{'trained by':28} sums right")
    print(f"{'the exact probability':28} {train(by_convolution):.3f}")
    print(f"{'ES, 100 samples an example':28} {train(by_queries):.3f}   {box.queries:,} queries")
