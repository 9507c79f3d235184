"""A network prepares faint pictures for a pipeline without a derivative: JPEG by Pillow, then a fixed classifier.

Beside it a surrogate that pretends JPEG changes nothing (straight-through, Bengio et al., arXiv 1308.3432). Who has one
should take it. `python jpeg.py 8` averages over eight seeds, as one run says little.
"""

import io
import sys

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

import esgrad

loss = nn.CrossEntropyLoss(reduction="none")


def jpeg(pictures: Tensor) -> Tensor:
    """Pictures [n, 8, 8] from 0 to 1, as JPEG of quality 10 leaves them."""
    back = []
    for picture in (pictures.detach().clamp(0, 1) * 255).byte().numpy():
        Image.fromarray(picture).save(file := io.BytesIO(), "JPEG", quality=10)
        back.append(np.asarray(Image.open(file)))
    return torch.tensor(np.stack(back)) / 255


def learn(network: nn.Module, losses: object, images: Tensor, digits: Tensor) -> nn.Module:
    """Adam, 300 steps of 32 pictures; the rate is the best of .001, .003, .01 and .03 for both gradients."""
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.randint(len(images), (300, 32)):
        optimizer.zero_grad()
        losses(network(images[batch]), digits[batch]).mean().backward()
        optimizer.step()
    return network


def run(seed: int) -> dict[str, float]:
    """Train a preparing network by each gradient: the classifier's accuracy on new pictures."""
    torch.manual_seed(seed)
    images, digits = (torch.tensor(each) for each in load_digits(return_X_y=True))
    images = images.float().view(-1, 8, 8) / 16
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    learn(fixed, loss, images[:1400], digits[:1400]).requires_grad_(False)
    box = esgrad.blackbox(lambda x, y: loss(fixed(jpeg(x)), y), num_samples=8, noise_variance=0.03, seed=seed)
    networks = {"no network": nn.Identity()}
    through = {"straight-through": lambda x, y: loss(fixed(x + (jpeg(x) - x).detach()), y), "ES, 8 samples": box}
    for name, losses in through.items():
        torch.manual_seed(seed)  # the same start and the same batches
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Unflatten(1, (8, 8)))
        networks[name] = learn(network, losses, images[:1400] / 4, digits[:1400])
    seen = {name: fixed(jpeg(network(images[1400:] / 4))).argmax(1) for name, network in networks.items()}
    return {name: (each == digits[1400:]).float().mean().item() for name, each in seen.items()}


if __name__ == "__main__":
    runs = [run(seed) for seed in range(int(sys.argv[1]) if sys.argv[1:] else 1)]
    print(*[f"{name:17} {np.mean([each[name] for each in runs]):.3f}" for name in runs[0]], sep="\n")
