"""Small jobs on digits, one of each kind of method, and ways to run them and to compare what they leave."""

from typing import Any

from esgrad import menu
from esgrad.tasks.data import Data
from esgrad.training import loop as training
from esgrad.training.job import Job

Rows = list[dict[str, Any]]
GROUPS = [(1.0, 0.01), (0.04, 0.03)]
SAMPLES = 8

PARAMETERS = {"space": "parameters", "noise": "mirrored", "shaping": "centered_ranks"}
KINDS: dict[str, dict[str, Any]] = {
    "independent": {},
    "mirrored": {"noise": "mirrored", "shaping": "centered_ranks"},
    "maxrl": {"shaping": "maxrl"},
    "parameters": PARAMETERS,
    "batch": {"space": "batch", "shaping": "leave_one_out"},
    "orthogonal": {"noise": "orthogonal", "shaping": "best_baseline"},
    "quasi": {"noise": "quasi"},
    "gumbel": {"noise": "gumbel", "shaping": "z_score"},
    "class": {"noise": "gumbel", "credit": "class", "shaping": "success"},
    "class of a batch": {"space": "batch", "credit": "class", "shaping": "leave_one_out"},
    "snes": {
        "space": "parameters",
        "shaping": "nes_utilities",
        "schedule": "snes",
        "optimizer": "sgd",
        "sigma_power": 1,
    },
    "pgpe": {**PARAMETERS, "schedule": "pgpe", "optimizer": "clip_up", "sigma_power": 1},
    "subset": {**PARAMETERS, "subset": 0.3},
    "table": {**PARAMETERS, "table_size": 5000, "table_seed": 3},
    "own_batches": {**PARAMETERS, "own_batches": True, "break_ties": True, "rate_schedule": "cosine"},
    "low_rank": {**PARAMETERS, "noise": "low_rank"},
    "cross_entropy": {"space": "parameters", "shaping": "leave_one_out", "blackbox": "cross_entropy"},
    **{
        name: {"exact": name, "noise": "", "credit": "", "shaping": "", "blackbox": menu.load("exact", name).BLACKBOX}
        for name in menu.names("exact")
    },
}


def job(**changes: Any) -> Job:
    """A small job on digits, the lecture's method unless told otherwise."""
    words: dict[str, Any] = {
        "experiment": "test",
        "dataset": "digits",
        "model": "linear",
        "blackbox": "zero_one",
        "method": "test",
        "relative": None,
        "logit_dim": 10,
        "batch_size": 32,
        "space": "logits",
        "noise": "independent",
        "credit": "noise",
        "shaping": "raw",
        "schedule": "fixed",
        "exact": None,
        "control": None,
        "optimizer": "adam",
        "weight_decay": 0.001,
        "hidden_size": 16,
        "num_classes": 10,
        "num_samples": (SAMPLES,),
        "noise_variance": (1.0,),
        "num_seeds": 2,
        "max_steps": 10,
        "max_queries": None,
        "learning_rates": (0.01, 0.03, 0.1),
        "num_tuning_seeds": 2,
        "variance_candidates": (),
        "max_widenings": 2,
        "evaluations_per_decade": 10,
        "draws_per_cell": 1e12,
    }
    return Job(**(words | changes))


def kind(name: str, **changes: Any) -> Job:
    return job(**(KINDS[name] | changes))


def run(
    of: Job, images: Data, groups: list[training.Group] = GROUPS, seeds: tuple[int, ...] = (0, 1), steps: int = 10
) -> Rows:
    return list(training.train(of, images, None if of.exact else SAMPLES, groups, seeds, steps, "cpu"))


def text(rows: Rows) -> list[str]:
    """Rows to be compared whole: NaN equals NaN, and every bit of a number counts."""
    return [repr(row) for row in rows]


def of_run(rows: Rows, seed: int, group: training.Group) -> Rows:
    return [row for row in rows if (row["seed"], row["noise_variance"], row["learning_rate"]) == (seed, *group)]
