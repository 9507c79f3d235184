"""Fill the numbers of README.md from the committed reference results, so that nobody types one: `make readme`."""

import re
import sys
from pathlib import Path

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


def answers() -> str:
    """The lecture's two questions, a sentence each with its number and the table behind it."""
    accuracy, quality = table("default", "accuracy"), table("default", "gradient_quality")
    headline = accuracy[accuracy["experiment"] == "headline"]

    def at(method: str, n: int) -> float:
        return one(headline, method=method, num_samples=n)["test_accuracy_mean"]

    def in_k(method: str, k: int, n: float) -> float:
        rows = accuracy[accuracy["experiment"] == "logit_dim"]
        return one(rows, method=method, logit_dim=k, num_samples=n)["test_accuracy_mean"]

    def cosine(k: int) -> float:
        return one(quality, shaping="raw", noise="independent", logit_dim=k, num_samples=1000)["cosine"]

    backprop = one(headline, method="backprop")["test_accuracy_mean"]
    t = accuracy[(accuracy["experiment"] == "variance") & (accuracy["num_samples"] == 100)]
    maxrl = t[t["method"] == "maxrl"].set_index("noise_variance")["test_accuracy_mean"]
    wide = maxrl[maxrl.index >= 0.1]
    raw, maxrl_10 = at("lecture", 10), at("maxrl", 10)
    need = f"""
- **"N needs to be a really large integer"?** With the lecture's weights, yes; much of it is the choice of weights. At
  N = 10 the lecture's estimate reaches {raw:.3f} test accuracy and MaxRL's weights (divided by the hits, centred)
  {maxrl_10:.3f}; at N = 100 {at("lecture", 100):.3f} and {at("maxrl", 100):.3f} (backprop: {backprop:.3f}). A longer
  logit vector stays expensive: at N = 10, going from K = 10 to 1,000 logits takes MaxRL from
  {in_k("maxrl", 10, 10):.3f} to {in_k("maxrl", 1000, 10):.3f}, and the cosine of the lecture's estimate to the exact
  gradient at N = 1,000 from {cosine(10):.2f} to {cosine(1000):.2f}."""
    choose = f"""
- **"How to choose t?"** Tune the learning rate and take almost any t: over t from {wide.index.min():g} to
  {wide.index.max():g} MaxRL at N = 100 ends between {wide.min():.3f} and {wide.max():.3f}; too small a t costs more
  ({maxrl.loc[0.01]:.3f} at t = 0.01)."""
    where = "Both are printed by `make run`: `results/default/tables/accuracy.md` and `gradient_quality.md`."
    return f"{need.strip()}\n{choose.strip()}\n\n{where}"


def results() -> str:
    """Test accuracies of both reference suites, with the command that prints them."""
    columns = [("default", 10.0), ("default", 100.0), ("mnist", 10.0), ("mnist", 100.0)]
    frames = {suite: table(suite, "accuracy").query("experiment == 'headline'") for suite in ("default", "mnist")}
    lines = [
        "Test accuracy at the end, mean and 95 % interval over seeds (digits: MLP 64-32-10, B = 32, 500 steps, 10 "
        "seeds; MNIST: MLP 784-128-10, B = 128, 1,500 steps, 5 seeds; t = 1 at the logits, 0.001 at the parameters):",
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
    row = rows.iloc[0]
    return f"{row['test_accuracy_mean']:.3f} ({row['low']:.3f}–{row['high']:.3f})"


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
