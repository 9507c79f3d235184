"""The command line: what a person asks for. The workflow's own commands are in `esgrad.workflow`.

Errors that input can cause are one line and exit code 2; nothing heavy is imported before it is needed.
"""

import argparse
import difflib
import gc
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from esgrad import __version__, menu, workflow


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults there are; an option without one says in words what happens."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Its errors are ours: one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} ({self.prog} --help says more)")


def whole(text: str) -> int:
    """The type of a whole number; argparse names the option before this message."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}: {_near(text)} would do") from None


def real(text: str) -> float:
    """The type of any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}: 0.5 would do") from None


def _near(text: str) -> int:
    """The whole number meant by 1e3 or 10.5; 10 where there is none."""
    try:
        return max(1, int(float(text)))
    except (ValueError, OverflowError):
        return 10


GARBAGE_THRESHOLDS = (100_000, 50, 50)
"""New objects before Python looks for unreachable ones. With its own thresholds it goes through all that torch and
pandas have made so often that tables take a fifth longer; nearly all that a command lets go of is freed without."""


def console() -> int:
    """The command line in a process of its own, which looks for garbage seldom, and not at its end: that took half a
    second of each of a suite's hundred processes."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    warnings.formatwarning = lambda message, *_, **__: f"esgrad: warning: {message}\n"
    code = main()
    gc.freeze()
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = build_parser()
    try:
        given = parser.parse_args(arguments)
        return given.command(given) or 0
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "esgrad":
            raise
        print(f"esgrad: error: this needs {error.name}: pip install 'esgrad[suite]' brings all of it", file=sys.stderr)
        return 2
    except (ValueError, OSError, RuntimeError) as error:
        print(f"esgrad: error: {error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """Every command and option, with help a newcomer can follow."""
    parser = _Parser(prog="esgrad", description="What does a gradient cost when you cannot backpropagate?")
    parser.add_argument("--version", action="version", version=f"esgrad {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help, formatter_class=_Help)
        made.set_defaults(command=function)
        return made

    made = command("list", list_menus, "Show what is on each menu, a line each.")
    made.add_argument("menu", nargs="?", help="one menu only, such as shapings")
    made.add_argument("--json", action="store_true", help="print names as JSON")

    made = command("train", train, "Train one cell by hand and print its accuracy as it learns.")
    made.add_argument(
        "--method",
        default="lecture",
        help="a method of the configuration: lecture, maxrl, leave_one_out, openai_es, backprop, ...",
    )
    made.add_argument(
        "--config", type=Path, default=Path("config/config.yaml"), help="the file in which the method is named"
    )
    made.add_argument("--dataset", default="digits", help="digits, mnist, digit_strings-2, ...")
    made.add_argument("--model", default="mlp", help="a file of models/")
    made.add_argument("--hidden-size", type=whole, default=32, help="units of the hidden layer")
    made.add_argument("--blackbox", help="instead of the method's own")
    made.add_argument("--num-samples", type=whole, default=10, help="N, samples an example")
    made.add_argument("--noise-variance", type=real, help="t, instead of the method's own; at the parameters 0.01")
    made.add_argument("--logit-dim", type=whole, help="K, instead of the number of classes")
    made.add_argument("--batch-size", type=whole, default=32, help="B, examples a step")
    made.add_argument(
        "--learning-rate",
        type=real,
        default=0.01,
        help="of the method's optimizer: 0.001 to 0.03 do for Adam, 1 for snes, 0.1 for pgpe",
    )
    made.add_argument("--max-steps", type=whole, default=500, help="length of the run")
    made.add_argument("--seed", type=whole, default=0, help="of split, initialisation, batches and noise")
    made.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to train")
    made.add_argument("--data-root", default="data", help="folder with torchvision's data sets")
    made.add_argument("--threads", type=whole, help="that share a population's members; all cores, 1 by torchrun")
    made.add_argument("--checkpoint", type=Path, help="a file to go on from, and to save to every minute")
    made.add_argument("--json", action="store_true", help="print the records as JSON lines")

    made = command("plan", plan, "How many samples do I need? From the laws, nothing is sampled.")
    made.add_argument("--logit-dim", type=whole, help="K equal logits, as at a network's start; or")
    made.add_argument("--logits", type=Path, help="a .npy file of your logits, [B, K], of k readings [B, k·K], with")
    made.add_argument("--targets", type=Path, help="a .npy file of what is right, [B]: classes, or sums; or")
    made.add_argument("--blackbox", help="what judges the logits: zero_one unless said otherwise, or digit_sum")
    made.add_argument("--readings", type=whole, help="k readings of K equal logits that the black box judges together")
    made.add_argument("--parameters", type=whole, help="d, for noise at all parameters (both signs of a pair count)")
    made.add_argument("--cosine", type=real, help="wanted to the exact gradient; 0.5 unless said otherwise")
    made.add_argument("--num-samples", type=whole, help="N: ask for its cosine instead")
    made.add_argument("--noise", help="independent unless said otherwise; at the parameters mirrored")
    made.add_argument("--credit", help="what a sample is credited with: noise unless said otherwise, or class")
    made.add_argument("--shaping", help="raw unless said otherwise; of a price the cheapest of ∇log p")
    made.add_argument("--noise-variance", type=real, help="t: 1 unless said otherwise, at the parameters 0.001")
    made.add_argument(
        "--batch-size", type=whole, help="B; where a price is asked the noise scale unless said otherwise"
    )
    made.add_argument("--query-cost", type=real, help="price of a query, in any unit; with")
    made.add_argument(
        "--forward-cost", type=real, help="price of an example's forward and backward pass: plan a training"
    )
    made.add_argument("--min-steps", type=real, help="steps the exact gradient takes to the target; 1,000 is assumed")
    made.add_argument("--data-noise-scale", type=real, help="batch whose noise equals its gradient; 100 is assumed")
    made.add_argument("--json", action="store_true", help="print the answer as JSON")

    made = command("check", check, "What does my estimator estimate? Its card, and exit code 1 where a law fails.")
    made.add_argument("function", help="module:function, fn(logits, targets, *, num_samples, noise_variance, seed)")
    made.add_argument("--json", action="store_true", help="print the card as JSON")

    made = command("new", new, "Write a package with a file of your own for a menu, and its test.")
    made.add_argument("kind", help="shaping, noise, credit or blackbox")
    made.add_argument("name", help="of the file, such as my_idea")
    made.add_argument("--into", type=Path, default=Path(), help="the folder to write it in, instead of this one")

    made = command("deps", deps, "Print the source files that a job's records depend on.")
    made.add_argument("path", help="a job's folder below runs/, as a dry run shows it")
    made.add_argument("--config", default="config/config.yaml", help="the configuration it belongs to")

    workflow.add_to(command)
    return parser


def list_menus(given: argparse.Namespace) -> None:
    """Print the menus: each name with the first line of its file."""
    if given.menu is not None and given.menu not in menu.menus():
        raise menu.unknown("menu", given.menu, menu.menus())
    wanted = [given.menu] if given.menu else menu.menus()
    if given.json:
        print(json.dumps({each: menu.names(each) for each in wanted}))
        return
    for each in wanted:
        print(each)
        for name in menu.names(each):
            print(f"  {name:28} {menu.summary(each, name)}")


def train(given: argparse.Namespace) -> None:
    """Train one run and print its evaluations."""
    from esgrad.suite import by_hand

    by_hand.train(given)


def plan(given: argparse.Namespace) -> None:
    """Answer how many samples are needed."""
    from esgrad.planning import plan as planner
    from esgrad.planning import words as plan_words

    asked = {name: value for name, value in vars(given).items() if name not in ("command", "json")}
    arrays = {name: planner.array(asked[name]) for name in ("logits", "targets") if asked[name] is not None}
    answer = planner.plan(**asked | arrays)
    print(json.dumps(answer, allow_nan=False) if given.json else "\n".join(plan_words.lines(answer)))


def check(given: argparse.Namespace) -> int:
    """Print an estimator's card; exit code 1 where a judged law does not hold."""
    from esgrad.conformance import check as conformance

    card = conformance.check(conformance.load(given.function), given.function)
    print(json.dumps(card.as_dict(), ensure_ascii=False) if given.json else "\n".join(card.lines()))
    return 0 if card.passed else 1


def new(given: argparse.Namespace) -> None:
    """Write a package for a menu."""
    from esgrad import new as packages

    paths = packages.write(given.kind, given.name, given.into)
    print(*paths, sep="\n")
    print(
        f"Now: pip install pytest -e {paths[0].parent}",
        f"then: python -m pytest {paths[-1]}",
        f"and: esgrad list {packages.MENUS[given.kind]}",
        f"It is named as {packages.use(given.kind, given.name)}.",
        sep="\n",
    )


def deps(given: argparse.Namespace) -> None:
    """Print a job's source closure, one path a line."""
    from esgrad.suite import config as configuration
    from esgrad.suite import sources

    jobs = {each.path: each for each in configuration.jobs(configuration.read(given.config))}
    path = given.path.rpartition("runs/")[2].strip("/")
    if path not in jobs:
        near = difflib.get_close_matches(path, jobs, n=3, cutoff=0)
        raise ValueError(f"unknown job '{given.path}'. Near it: {', '.join(near)}.")
    print(*sources.of_job(jobs[path]), sep="\n")


if __name__ == "__main__":
    sys.exit(console())
