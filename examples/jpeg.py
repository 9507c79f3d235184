"""A network prepares faint pictures for a pipeline without a derivative: JPEG by Pillow, then a fixed classifier.

Beside it JPEG's nearest differentiable surrogate, which pretends that it changes nothing (straight-through, Bengio et
al., arXiv 1308.3432).
"""

import io
from functools import partial

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

import esgrad

loss = partial(nn.functional.cross_entropy, reduction="none")


def jpeg(pictures: Tensor) -> Tensor:
    """Pictures [n, 8, 8] from 0 to 1, as JPEG of quality 10 leaves them."""
    back = []
    for picture in (pictures.detach().clamp(0, 1) * 255).byte().numpy():
        Image.fromarray(picture).save(file := io.BytesIO(), "JPEG", quality=10)
        back.append(np.asarray(Image.open(file)))
    return torch.tensor(np.stack(back)) / 255


def learn(network: nn.Module, losses: object, images: Tensor, digits: Tensor) -> None:
    """Adam, 300 steps of 32 pictures."""
    optimizer = torch.optim.Adam(network.parameters(), 0.003)
    for batch in torch.randint(len(images), (300, 32)):
        optimizer.zero_grad()
        losses(images[batch], digits[batch]).mean().backward()
        optimizer.step()


def main() -> None:
    """Train a preparing network by each gradient, and compare the classifier's accuracy on new pictures."""
    images, digits = load_digits(return_X_y=True)
    images, digits = torch.tensor(images, dtype=torch.float32).view(-1, 8, 8) / 16, torch.tensor(digits)
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    learn(classifier, lambda x, y: loss(classifier(x), y), images[:1400], digits[:1400])
    faint, classifier = images / 4, classifier.requires_grad_(False)
    through = {"straight-through": lambda x, y: loss(classifier(x + (jpeg(x) - x).detach()), y)}
    through["ES, 8 samples"] = esgrad.blackbox(
        lambda x, y: loss(classifier(jpeg(x)), y), num_samples=8, noise_variance=0.03, seed=0
    )
    print(f"no network        {(classifier(jpeg(faint[1400:])).argmax(1) == digits[1400:]).float().mean():.3f}")
    for name, losses in through.items():
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Unflatten(1, (8, 8)))
        learn(network, lambda x, y, n=network, of=losses: of(n(x), y), faint[:1400], digits[:1400])
        print(f"{name:17} {(classifier(jpeg(network(faint[1400:]))).argmax(1) == digits[1400:]).float().mean():.3f}")


if __name__ == "__main__":
    main()
