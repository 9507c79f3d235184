"""Fill the numbers of README.md from the committed reference results, so that nobody types one: `make readme`."""

import re
import sys
from pathlib import Path
from textwrap import fill

import pandas as pd

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"
ORDER = [
    *("backprop", "log_smoothed", "smoothed"),
    *("maxrl", "success", "leave_one_out", "mirrored", "lecture", "openai_es"),
]


def table(suite: str, name: str) -> pd.DataFrame:
    """A committed table."""
    return pd.read_csv(REFERENCE / suite / "tables" / f"{name}.csv")


def one(frame: pd.DataFrame, **wanted: object) -> pd.Series:
    """The only row with these values."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    ((_, row),) = frame.iterrows()
    return row


def shown(row: pd.Series) -> str:
    """A mean accuracy with its interval."""
    return f"{row['test_accuracy_mean']:.3f} ({row['low']:.3f}–{row['high']:.3f})"


def answers() -> str:
    """The lecture's two questions, a sentence each with its numbers and the tables behind them."""
    accuracy, quality = table("default", "accuracy"), table("default", "gradient_quality")
    part = dict(list(accuracy.groupby("experiment")))

    def at(method: str, n: int) -> str:
        return shown(one(part["headline"], method=method, num_samples=n))

    def in_k(k: int) -> str:
        return shown(one(part["logit_dim"], method="maxrl", logit_dim=k, num_samples=10))

    def cosine(k: int) -> float:
        return one(quality, shaping="raw", noise="independent", logit_dim=k, num_samples=1000)["cosine"]

    def over_t(method: str, n: int) -> str:
        rows = part["variance"].query("method == @method and num_samples == @n and noise_variance >= 0.1")
        return f"{rows['test_accuracy_mean'].min():.3f}–{rows['test_accuracy_mean'].max():.3f}"

    def small_t(method: str) -> float:
        return one(part["variance"], method=method, num_samples=100, noise_variance=0.01)["test_accuracy_mean"]

    backprop, seeds = one(part["headline"], method="backprop"), part["headline"]["num_seeds"].max()
    need = f"""
- **"N needs to be a really large integer"?** With the lecture's weights it does; with others less so. At N = 10 the
  lecture's estimate ends at {at("lecture", 10)} test accuracy, MaxRL's weights (divided by the hits, centred) at
  {at("maxrl", 10)}; at N = 100 at {at("lecture", 100)} and {at("maxrl", 100)}, where backprop ends at
  {shown(backprop)} (n = {seeds} seeds). A longer logit vector stays expensive for both: at N = 10, going from K = 10 to
  1,000 logits takes MaxRL from {in_k(10)} to {in_k(1000)}; on frozen random logits at t = 1 the cosine of the lecture's
  estimate to the exact gradient at N = 1,000 falls from {cosine(10):.2f} to {cosine(1000):.2f}."""
    choose = f"""
- **"How to choose t?"** So far: tune the learning rate, and t matters little as long as it is not small. Over
  t from 0.1 to 100 (tuned for each) MaxRL ends at {over_t("maxrl", 100)} with N = 100, the lecture's estimate at
  {over_t("lecture", 100)}; at t = 0.01 they end at {small_t("maxrl"):.3f} and {small_t("lecture"):.3f}. With few
  samples t matters more: at N = 4 the ranges are {over_t("maxrl", 4)} and {over_t("lecture", 4)}."""
    where = """
Printed by `make run` into `results/default/tables/accuracy.md` and `gradient_quality.md`; brackets are 95 % intervals
over seeds, which do not contain the noise of choosing a learning rate."""
    return "\n".join([_filled(need, "  "), _filled(choose, "  "), "", _filled(where, "")])


def _filled(text: str, indent: str) -> str:
    """Lines of at most 120 characters; the numbers changed their length."""
    return fill(" ".join(text.split()), 120, subsequent_indent=indent, break_on_hyphens=False)


def results() -> str:
    """Test accuracies of both reference suites, with the command that prints them."""
    columns = [("default", 10.0), ("default", 100.0), ("mnist", 10.0), ("mnist", 100.0)]
    frames = {suite: table(suite, "accuracy").query("experiment == 'headline'") for suite in ("default", "mnist")}
    seeds = {suite: frame["num_seeds"].max() for suite, frame in frames.items()}
    lines = [
        "Test accuracy at the end, mean and 95 % interval over seeds (digits: MLP 64-32-10, B = 32, 500 steps, "
        f"{seeds['default']} seeds; MNIST: MLP 784-128-10, B = 128, 1,500 steps, {seeds['mnist']} seeds; t = 1 at the "
        "logits, 0.001 at the parameters):",
        "",
        "| method | black box | digits, N = 10 | digits, N = 100 | MNIST, N = 10 | MNIST, N = 100 |",
        "|---|---|---|---|---|---|",
    ]
    for method in ORDER:
        for blackbox in sorted(set(frames["default"].query("method == @method")["blackbox"])):
            cells = [_cell(frames[suite], method, blackbox, n) for suite, n in columns]
            lines.append(f"| `{method}` | `{blackbox}` | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "| numbers | printed by | into |",
            "|---|---|---|",
            "| the digits columns | `make run` | `results/default/tables/accuracy.md` |",
            "| the MNIST columns | `make run CONFIG=config/mnist.yaml` | `results/mnist/tables/accuracy.md` |",
            "| steps, queries and forward passes to a target, and their ratios to backprop | `make run` | "
            "`results/default/tables/targets.md`, in words `slower_than_backprop.md` |",
        ]
    )


def _cell(frame: pd.DataFrame, method: str, blackbox: str, num_samples: float) -> str:
    rows = frame[(frame["method"] == method) & (frame["blackbox"] == blackbox)]
    rows = rows[(rows["num_samples"] == num_samples) | rows["num_samples"].isna()]
    if rows.empty:
        return ""
    return shown(rows.iloc[0])


def filled(readme: str) -> str:
    """The README with both blocks made anew."""
    for name, block in [("answers", answers()), ("results", results())]:
        readme = re.sub(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\g<1>{block}\n\g<2>", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(text != filled(text) and "README.md and results/reference/ disagree: run `make readme`")
    path.write_text(filled(text), encoding="utf-8")
