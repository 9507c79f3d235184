"""The loop, once, over a stack of runs: every method, space and exact arm trains by these lines.

at = space.place(stack, images, targets, blackbox)
optimizer.step(stack.parameters, at.push(method.direction(at, …).gradient), …)
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from esgrad.gradients.costs import Costs
from esgrad.gradients.key import Key
from esgrad.gradients.schedules import Last
from esgrad.gradients.spaces import Place
from esgrad.kernels.streams import Role, permutation
from esgrad.tasks.blackboxes import BlackBox
from esgrad.tasks.data import Data, split
from esgrad.tasks.stack import Stack, initialised
from esgrad.training.job import Job
from esgrad.training.resume import Resume

EVALUATION_CHUNK = 2**22  # pixels of a stack's images evaluated at a time

Group = tuple[float | None, float]
"""What runs of one seed in a stack differ in: (t, learning rate)."""


def settle() -> None:
    """Make this process's sums the same everywhere: one thread, whose number they depend on in the last bit, and no
    oneDNN, whose convolutions depend on what else is in the stack (without it a step of the cnn takes as long on
    8×8 and 28×28 images, twice as long on 3×32×32: measured on two cores)."""
    torch.set_num_threads(1)
    torch.backends.mkldnn.set_flags(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False


def train(
    job: Job,
    data: Data,
    num_samples: int | None,
    groups: Sequence[Group],
    seeds: Sequence[int],
    steps: int,
    device: str,
    tick: Callable[[int], Any] = lambda run_steps: None,
    ends_only: bool = False,
    watch: Callable[[int, Stack], Any] = lambda step, stack: None,
    resume: Resume | None = None,
) -> Iterator[dict[str, Any]]:
    """Train R = seeds × groups runs as one stack and yield a row for each evaluation, run by run in any order.

    Runs of a seed share their split, initialisation, batches and noise. A run whose logits or parameters cease to be
    finite is diverged: its last row says so and has no accuracy. `ends_only` evaluates first and last steps alone;
    `watch(step, stack)` is called before the first step and after each. With `resume` it goes on where that stands,
    without the rows of before, and saves there.
    """
    group = len(groups)
    images = Images(data, seeds, device)
    channels, height, width = data.images.shape[-3:]
    build, blackbox, space = job.task.network.build, job.task.blackbox, job.resolved_method.space
    networks = [
        initialised(lambda: build((channels, height, width), job.logit_dim, job.hidden_size), seed) for seed in seeds
    ]
    stack = Stack([network for network in networks for _ in range(group)], device)
    rate = torch.tensor([rate for _, rate in groups], device=device).repeat(len(seeds))
    level = torch.tensor([math.nan if t is None else t for t, _ in groups], device=device).repeat(len(seeds))
    optimizer = job.rule_of_steps
    ascent = Ascent(job, num_samples, seeds, level, steps)
    state = optimizer.initial(stack.parameters)
    price = job.resolved_method.costs(job.batch_size, num_samples)
    alive = torch.ones(len(seeds) * group, dtype=torch.bool, device=device)

    def rows(step: int, last: bool) -> Iterator[dict[str, Any]]:
        nonlocal alive
        judged = evaluate(stack, blackbox, images, group, test=last)
        finite = torch.isfinite(stack.flat()).all(1) & judged["finite"]
        for run in alive.nonzero()[:, 0].tolist():
            t, learning_rate = groups[run % group]
            ok = bool(finite[run])
            yield {
                "num_samples": num_samples,
                "noise_variance": t,
                "learning_rate": learning_rate,
                "seed": seeds[run // group],
                "step": step,
                **{unit: count * step for unit, count in price._asdict().items()},
                "validation_accuracy": judged["validation"][run] if ok else math.nan,
                "test_accuracy": judged["test"][run] if ok and last else math.nan,
                "dead_classes": judged["dead"][run] if ok else None,
                "spread": judged["spread"][run] if ok else math.nan,
                "sigma": _rounded(ascent.sigma[run]),
                "status": "ok" if ok else "diverged",
            }
        alive = alive & finite

    def saved(step: int) -> dict[str, Any]:
        remembered = {"optimizer": state, "last": list(ascent.last or ()), "alive": alive}
        return {"step": step, "parameters": stack.parameters, **remembered}

    begun = 0
    if resume is not None and (kept := resume.load()):
        begun, alive = kept["step"], kept["alive"].to(device)
        held: list[Any] = [each if each is None else each.to(device) for each in kept["last"]]
        ascent.remember(*held)
        with torch.no_grad():
            restore([stack.parameters, *state.values()], [kept["parameters"], *kept["optimizer"].values()])
        tick(len(seeds) * group * begun)
    else:
        watch(0, stack)
        yield from rows(0, last=False)
    if begun == steps:
        yield from rows(steps, last=True)
    due = evaluations(price, job.evaluations_per_decade)
    next_due = next(step for step in due if step > begun)
    for step in range(begun + 1, steps + 1):
        batch, targets = images.step(step - 1, job.batch_size, group, job.resolved_method.batches(num_samples))
        at = space.place(stack, batch, targets, blackbox)
        with torch.no_grad():
            direction = ascent(at, step)
        moved = at.push(direction)
        with torch.no_grad():
            optimizer.step(
                stack.parameters, moved, rate * job.rates.factor((step - 1) / steps), job.weight_decay, state
            )
        watch(step, stack)
        last = step == steps
        if last or (step >= next_due and not ends_only):
            yield from rows(step, last)
            if not alive.any():
                tick(len(seeds) * group * (steps - step + 1))
                return
        if resume is not None:  # after the rows: what is lost in between is said again, and not left out
            resume.offer(partial(saved, step), last)
        while step >= next_due:
            next_due = next(due)
        tick(len(seeds) * group)


def restore(places: Sequence[list[Tensor]], kept: Sequence[list[Tensor]]) -> None:
    """Put tensors that were kept where they belong."""
    for tensors, values in zip(places, kept, strict=True):
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def evaluations(price: Costs, per_decade: int) -> Iterator[int]:
    """The steps that first reach the points of a geometric grid of queries (of examples, where there are none)."""
    unit = price.examples if math.isnan(price.queries) else price.queries
    step, point = 0, math.floor(math.log10(unit) * per_decade) - 1
    while True:
        point += 1
        reached = math.ceil(10 ** (point / per_decade) / unit - 1e-9)
        if reached > step:
            step = reached
            yield step


class Ascent:
    """A method along a training: t as its rule has it, and the direction at each step.

    `level` [R] is what each run's rule for t starts from (`schedules/`); NaN where the gradient knows no noise. `sigma`
    [R] is that of the last step, the mean over positions; before the first step the level's where t is fixed, else NaN.
    """

    def __init__(self, job: Job, num_samples: int | None, seeds: Sequence[int], level: Tensor, steps: int) -> None:
        self.method, self.num_samples = job.resolved_method, num_samples
        self.seeds, self.level, self.steps = seeds, level, steps
        self.last: Last | None = None
        self.sigma = level.sqrt() if job.schedule == "fixed" else torch.full_like(level, math.nan)

    def __call__(self, at: Place, step: int) -> Tensor:
        """The direction [R, M, D] of step 1, 2, … at a place."""
        t = self.method.rule.variance(self.level, self.last, at.point, (step - 1) / self.steps)
        estimate = self.method.direction(at, self.num_samples, t, Key(self.seeds, Role.NOISE, step))
        self.remember(t, estimate.mean_fitness, estimate.log_sigma)
        return estimate.gradient

    def remember(self, variance: Tensor, mean_fitness: Tensor, log_sigma: Tensor | None) -> None:
        """What the last step has left behind, for the rule for t."""
        self.last = Last(variance, mean_fitness, log_sigma)
        self.sigma = variance.sqrt().reshape(len(variance), -1).mean(1)


class Images:
    """The images of S seeds on a device: each seed's split and its order of batches."""

    def __init__(self, data: Data, seeds: Sequence[int], device: str) -> None:
        self.seeds, self.scale = list(seeds), float(data.scale)
        self.images, self.targets = data.images.to(device), data.targets.to(device)
        self.num_classes = data.num_classes
        parts = [torch.stack(part).to(device) for part in zip(*(split(data, seed) for seed in seeds), strict=True)]
        self.train, self.validation, self.test = parts  # [S, n] each
        self.epoch, self.order = -1, self.train

    def batch(self, step: int, batch_size: int, group: int) -> tuple[Tensor, Tensor]:
        """Batch `step` of each run, images [R, B, ...] and targets [R, B]; a seed's runs share it."""
        return self._of(self._batch(step, batch_size), group)

    def step(self, step: int, batch_size: int, group: int, batches: int | None) -> tuple[Tensor, Tensor]:
        """What step 0, 1, … reads: a batch, or as many as are given, [R, batches, B, ...] and [R, batches, B]."""
        if batches is None:
            return self.batch(step, batch_size, group)
        each = [self._batch(number, batch_size) for number in range(step * batches, (step + 1) * batches)]
        return self._of(torch.stack(each, 1), group)

    def pixels(self, index: Tensor) -> Tensor:
        """The images at an index, as numbers from 0 to 1."""
        return self.images[index].float().div_(self.scale)

    def _of(self, index: Tensor, group: int) -> tuple[Tensor, Tensor]:
        """Images and targets at an index [S, ...], for each of a seed's runs."""
        return self.pixels(index).repeat_interleave(group, 0), self.targets[index].repeat_interleave(group, 0)

    def _batch(self, step: int, batch_size: int) -> Tensor:
        """Which images batch `step` of each seed consists of, [S, B]."""
        per_epoch = self.train.shape[1] // batch_size
        if (epoch := step // per_epoch) != self.epoch:
            orders = [permutation(seed, Role.BATCHES, epoch, self.train.shape[1]) for seed in self.seeds]
            self.epoch, self.order = epoch, self.train.gather(1, torch.stack(orders).to(self.train.device))
        start = step % per_epoch * batch_size
        return self.order[:, start : start + batch_size]


@torch.no_grad()
def evaluate(stack: Stack, blackbox: BlackBox, images: Images, group: int, test: bool) -> dict[str, Any]:
    """Of each run, on its validation set: accuracy, the classes never predicted, the spread of the logits (standard
    deviation within an example, root mean square over examples); and at the end its accuracy on the test set."""
    predicted, correct, finite, spread = _predictions(stack, blackbox, images, images.validation, group)
    labels = max(images.num_classes, int(predicted.max()) + 1)  # logits that no label uses can be predicted, too
    ever = torch.zeros(len(predicted), labels, dtype=torch.bool, device=predicted.device).scatter_(1, predicted, True)
    dead = (~ever[:, : images.num_classes]).sum(1)
    validation = correct.double().mean(1).tolist()
    result = {"validation": validation, "dead": dead.tolist(), "finite": finite, "spread": spread}
    if test:
        result["test"] = _predictions(stack, blackbox, images, images.test, group)[1].double().mean(1).tolist()
    return result


def _predictions(
    stack: Stack, blackbox: BlackBox, images: Images, part: Tensor, group: int
) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """What each run makes of a part of its seed's images [S, n], and whether it is right: [R, n] both.

    The third, [R], says whether all logits were finite: argmax would judge the others all the same. The fourth is
    their spread, R numbers.
    """
    per_image = len(part) * group * math.prod(images.images.shape[1:])
    predicted, finite, squares = [], [], []
    for index in part.split(max(1, EVALUATION_CHUNK // per_image), 1):
        logits = stack(images.pixels(index).repeat_interleave(group, 0))
        predicted.append(blackbox.predict(logits))
        finite.append(torch.isfinite(logits).flatten(1).all(1))
        squares.append(logits.double().var(-1, correction=0))
    labels = torch.cat(predicted, 1)
    correct = labels == images.targets[part].repeat_interleave(group, 0)
    return labels, correct, torch.stack(finite).all(0), list(map(_rounded, torch.cat(squares, 1).mean(1).sqrt()))


def _rounded(number: Tensor) -> float:
    """Four digits: the last bits of a mean, and of a logit, depend on what else is in the stack."""
    return float(f"{number.item():.4g}")
