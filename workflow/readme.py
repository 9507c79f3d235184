"""Fill the numbers of README.md from the committed reference results, so that nobody types one: `make readme`."""

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import fill

import numpy as np
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
    """The lecture's two questions, what the records say, with the numbers' tables and what would overturn it."""
    return "\n".join([need(), choose()])


def need() -> str:
    """How large N must be."""
    exponents, sizes = table("default", "exponents"), table("default", "samples_needed")
    far_exponents, far_sizes = table("mnist", "exponents"), table("mnist", "samples_needed")
    accuracy = table("default", "accuracy").query("experiment == 'headline'")
    half = {"cosine": 0.5, "dataset": "digits"}
    whole = exponents[exponents["logit_dim_high"] - exponents["logit_dim_low"] == 990]

    def slope(stage: str, level: str, shaping: str) -> str:
        return power(one(whole, stage=stage, level=level, shaping=shaping, **half))

    def power(row: pd.Series) -> str:
        return f"{row['exponent']:.2f} ({row['low']:.2f}–{row['high']:.2f}; law {row['law']:.2f})"

    def n(stage: str, level: str, shaping: str, k: int) -> str:
        return number(one(sizes, stage=stage, level=level, shaping=shaping, logit_dim=k, **half))

    def number(row: pd.Series) -> str:
        found, low, high, law = (_two(row[name]) for name in ("estimate", "low", "high", "predicted"))
        return f"{found} ({low}–{high}; law {law})"

    def far(level: str) -> str:
        asked = {"stage": "start", "level": level, "shaping": "raw", "cosine": 0.5, "dataset": "mnist"}
        over = far_exponents["logit_dim_low"].eq(10) & far_exponents["logit_dim_high"].eq(10_000)
        grows = power(one(far_exponents[over], **asked))
        return f"{number(one(far_sizes, logit_dim=10_000, **asked))}, power {grows}"

    def asked(suite: pd.DataFrame, level: str, k: int) -> str:
        row = suite.query("stage == 'start' and level == @level and shaping == 'raw' and logit_dim == @k").iloc[0]
        return f"{row['num_observations']} ({100 * row['coverage']:.0f} %)"

    decade = far_exponents.query("logit_dim_low == 10 and logit_dim_high == 100 and cosine == 0.5")
    odd = one(decade, stage="trained", level="batch", shaping="maxrl", dataset="mnist")

    def outside(frame: pd.DataFrame) -> str:
        known = frame.dropna(subset=["exponent", "law"])
        return f"{(~known['law'].between(known['low'], known['high'])).sum()} of {len(known)}"

    def at(method: str, num_samples: int) -> str:
        return shown(one(accuracy, method=method, num_samples=num_samples))

    return _paragraphs(
        f"""
### "N needs to be a really large integer"?

Of one example at a network's start it does. For a cosine of .5 to the exact gradient the lecture's estimate takes
N = {n("start", "example", "raw", 10)} at K = 10 and {n("start", "example", "raw", 1000)} at K = 1,000; between them N
grows as K to the power {slope("start", "example", "raw")}. At K = 10,000 (MNIST) it is {far("example")}; in a
mini-batch of 128, {far("batch")}. *Law* stands for what the moments of the estimate say (`src/esgrad/laws/`), with
nothing fitted. There are ten labels: the K beyond are logits that no label uses.
""",
        f"""
Training flattens that growth, as few classes go on competing: in a mini-batch of 32 the power falls from
{slope("start", "batch", "raw")} at the start (raw weights) to {slope("half", "batch", "leave_one_out")} half-way and
{slope("trained", "batch", "leave_one_out")} at the end (leave-one-out; raw weights reached the cosine too seldom there
to tell a power). But it makes the lecture's raw weights dearer where K is small, since most samples hit then and each
adds noise: at K = 10 from N = {n("start", "batch", "raw", 10)} to {n("trained", "batch", "raw", 10)}. Weights with a
centre mend that: leave-one-out goes from {n("start", "batch", "leave_one_out", 10)} to
{n("trained", "batch", "leave_one_out", 10)}.
""",
        f"""
And no step needs a good cosine. At N = 10 the lecture's weights end at {at("lecture", 10)} test accuracy, MaxRL's
(divided by the hits and centred, [arXiv 2602.02710](https://arxiv.org/abs/2602.02710)) at {at("maxrl", 10)}, at
N = 100 at {at("lecture", 100)} and {at("maxrl", 100)}; backprop ends at {shown(one(accuracy, method="backprop"))}
(n = {accuracy["num_seeds"].max()} seeds, experiment `headline`).
""",
        """
![N for a cosine of .5 and .9 against K, and the law's](results/reference/default/figures/samples_needed.png)
""",
        """
*What would overturn it:* a task whose classes keep competing after training, so that the power stays near 2.
""",
        f"""
*Where the law fails:* it lies outside the interval of {outside(exponents)} powers on digits and of
{outside(far_exponents)} on MNIST. Most of these are of examples that did not all reach the cosine: the cheap ones did,
and the law of those alone (`law_of_hits`) is near. Others are
MaxRL's mini-batches in which one rarely hit example holds most of the gradient (MNIST, trained, K = 10 to 100: power
{power(odd)}).
""",
        f"""
Tables `samples_needed.md`, `exponents.md` and `accuracy.md` of `make run`; the figure `samples_collapse` lays all K on
one curve. Brackets of powers and accuracies are 95 % intervals. N is a median, told in cells of a grid, eight a decade,
the law's too; its brackets are those of {asked(sizes, "example", 10)} examples or {asked(sizes, "batch", 10)} batches,
at K = 10,000 of {asked(far_sizes, "example", 10_000)} and {asked(far_sizes, "batch", 10_000)}. `esgrad plan` (below)
asks equal logits instead of a network's, and rounds to no grid.
""",
    )


def choose() -> str:
    """How to choose t."""
    accuracy, regret = table("default", "accuracy"), table("default", "regret")
    part = dict(list(accuracy.groupby("experiment")))
    long, suite = part["variance_logit_dim"], json.loads((REFERENCE / "default/suite.json").read_text(encoding="utf-8"))
    steps = suite["experiments"]["variance_logit_dim"]["max_steps"]

    def over_t(method: str, n: int) -> str:
        rows = part["variance"].query("method == @method and num_samples == @n and noise_variance >= 0.1")
        return f"{rows['test_accuracy_mean'].min():.3f}–{rows['test_accuracy_mean'].max():.3f}"

    def small_t(method: str) -> str:
        return f"{_at(part['variance'], method, 100, 0.01):.3f}"

    def many_logits(n: int, method: str = "maxrl") -> str:
        first, second, third = (f"{_at(long, method, n, t):.3f}" for t in (0.01, 1, 100))
        return f"{first}, {second} and {third}"

    def best(rows: pd.DataFrame) -> str:
        row = rows.loc[rows["regret"].idxmin()]
        who = f"{row['method']} at level {row['noise_variance']:g}, N = {row['num_samples']:.0f}"
        return f"{row['regret']:.3f} ({row['low']:.3f} to {row['high']:.3f}; {who}, the best of {len(rows)} cells)"

    rules, mnist = regret[regret["variance"] != "fixed"], table("mnist", "regret")
    rules_mnist = mnist[mnist["variance"] != "fixed"]
    fixed = mnist[(mnist["variance"] == "fixed") & (mnist["peer"] == "maxrl")]["regret"].max()
    one_rule = regret[(regret["method"] == "maxrl_spread") & (regret["num_samples"] == 100)]["regret"]
    return _paragraphs(
        f"""
### "How to choose t?"

Fix it, not small, and tune the learning rate. With N = 100 and K = 10 almost any such t will do: from 0.1 to 100 MaxRL
ends at {over_t("maxrl", 100)} and the lecture's estimate at {over_t("lecture", 100)}; at t = 0.01 at {small_t("maxrl")}
and {small_t("lecture")}. With N = 4 the lecture's is choosier: {over_t("lecture", 4)} (MaxRL {over_t("maxrl", 4)}). On
MNIST no fixed t from 0.01 to 100 costs MaxRL more than {fixed:.3f} (N = 10 and 100).
""",
        f"""
The reason is in the picture: only σ relative to the spread of the logits matters, and with t fixed the network sets
that ratio itself. With N = 100 and K = 10 the five are 100 times apart at first, after one step
{_apart("maxrl", 100, 1)} (MaxRL) and {_apart("lecture", 100, 1)} (lecture), and end {_apart("maxrl", 100)} and
{_apart("lecture", 100)}; with N = 4, which the picture leaves out, they end {_apart("maxrl", 4)} and
{_apart("lecture", 4)}.
""",
        """
![σ over the logits' spread along training](results/reference/default/figures/sigma_over_spread.png)
""",
        f"""
Where samples and steps are few and logits many, t matters: at K = 100, after {steps} steps (n =
{_only(long, "num_seeds")}), MaxRL stands at {many_logits(10)} for t = 0.01, 1 and 100 with N = 10, at
{many_logits(100)} with N = 100; the lecture's estimate at {many_logits(10, "lecture")}, and
{many_logits(100, "lecture")}.
""",
        f"""
Tying t to the logits has gained nothing. A rule that keeps σ over the spread costs {one_rule.min():.3f} to
{one_rule.max():.3f} of accuracy against the best fixed t (MaxRL, N = 100, five ratios). The best of all rules at any
level loses {best(rules)} on digits, and {best(rules_mnist)} on MNIST; a level at the end of those tried, 0.01 and 100,
may not be the best there is.
""",
        """
![What a rule for t costs against the best fixed t](results/reference/default/figures/regret.png)
""",
        """
*What would overturn it:* a schedule of σ over the spread that ends above every fixed t, beyond its interval.
""",
        """
Tables `accuracy.md` and `regret.md` of `make run` and `make run CONFIG=config/mnist.yaml`. Brackets are 95 % intervals
over seeds, which do not contain the noise of choosing a learning rate, nor of picking the best.
""",
    )


def _at(rows: pd.DataFrame, method: str, num_samples: int, noise_variance: float) -> float:
    """The mean accuracy of a cell."""
    row = one(rows, method=method, num_samples=num_samples, noise_variance=noise_variance)
    return float(row["test_accuracy_mean"])


def _only(rows: pd.DataFrame, column: str) -> object:
    """The one value of a column."""
    (value,) = rows[column].unique()
    return value


def _apart(method: str, num_samples: int, step: int = 500) -> str:
    """How many times the fixed t's σ over the spread (geometric means over seeds) lie apart at a step."""
    folder = REFERENCE / f"default/runs/variance/digits/mlp/zero_one/{method}/logit_dim=10/batch_size=32"
    runs = pd.read_parquet(folder / "records.parquet").query("num_samples == @num_samples and step == @step")
    ratio = np.exp(np.log(runs["sigma"] / runs["spread"]).groupby(runs["noise_variance"]).mean())
    return f"{ratio.max() / ratio.min():.2g}"


def ladder() -> str:
    """What each rung from cross-entropy to noise at the parameters costs, and what the gradient noise predicts."""
    parts = []
    for suite, words in [("default", "digits"), ("mnist", "MNIST")]:
        rungs = table(suite, "ladder").query("target == 'progress 0.90' and method != 'backprop'")
        controls, rungs = rungs[rungs["control"]], rungs[~rungs["control"]]
        told = np.isfinite(rungs["ratio"]) & (rungs["ratio"] > 0) & rungs["predicted"].notna()
        each = [
            f"{row.method} over {row.stands_on} {row.ratio:.2f} ({row.ratio_low:.2f}–{_open(row.ratio_high)}), "
            f"predicted {row.predicted:.2f}"
            f" ({row.hits} of {row.num_seeds} arrived{_contradicted(row.verdict)})"
            for row in rungs[told].itertuples()
        ]
        late = [f"{row.method} ({row.hits} of {row.num_seeds})" for row in rungs[~told].itertuples()]
        slower = rungs.loc[rungs["verdict_to_backprop"].fillna("").str.startswith("slower"), "method"]
        twins = [f"{row.method}: {row.verdict}" for row in controls.itertuples()]
        size = rungs["num_samples"].dropna().iloc[0]
        parts.append(
            f"On {words} (N = {size:.0f}), steps to 90 % of backprop's progress over those of the rung it stands on: "
            f"{'; '.join(each)}. Too few arrived to tell: {', '.join(late)}. Slower against backprop than the noise "
            f"predicts, at the one rate of all rungs: {', '.join(slower)}. Controls, the exact mean plus Gaussian "
            f"noise of the estimator's covariance, against their twins: {'; '.join(twins)}."
        )
    return _paragraphs(*parts)


def _contradicted(verdict: object) -> str:
    return f"; {verdict}" if str(verdict).startswith(("slower", "faster")) else ""


def _two(value: float) -> str:
    """Two digits: a cell of the grid is no wider known."""
    return f"{float(f'{value:.2g}'):,.0f}" if np.isfinite(value) else "∞"


def _open(high: float) -> str:
    return f"{high:.2f}" if np.isfinite(high) else "∞"


def plan() -> str:
    """What `esgrad plan` prints for two questions."""
    asked = [["--logit-dim", "1000", "--cosine", "0.5"], ["--parameters", "3274634", "--cosine", "0.2"]]
    lines = []
    for words in asked:
        command = [str(Path(sys.executable).parent / "esgrad"), "plan", *words]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines += [f"$ esgrad plan {' '.join(words)}", *said.rstrip().splitlines(), ""]
    return "\n".join(["```", *lines[:-1], "```"])


def _paragraphs(*texts: str) -> str:
    """Paragraphs, a heading in its own line where one begins with #."""
    done = []
    for text in texts:
        heading, _, rest = text.strip().partition("\n\n") if text.strip().startswith("#") else ("", "", text)
        done += [heading] if heading else []
        done += [rest.strip() if rest.strip().startswith("!") else _filled(rest, "")]
    return "\n\n".join(done) + "\n"


def _filled(text: str, indent: str) -> str:
    """Lines of at most 120 characters; the numbers changed their length."""
    return fill(" ".join(text.split()), 120, subsequent_indent=indent, break_on_hyphens=False)


def results() -> str:
    """Test accuracies of both reference suites, with the command that prints them."""
    columns = [("default", 10.0), ("default", 100.0), ("mnist", 10.0), ("mnist", 100.0)]
    frames = {suite: table(suite, "accuracy").query("experiment == 'headline'") for suite in ("default", "mnist")}
    seeds = {suite: frame["num_seeds"].max() for suite, frame in frames.items()}
    coverage = pd.read_csv(REFERENCE / "coverage.csv").query("interval == 'mean_interval' and never == 0.2")

    def held(n: int) -> str:
        return f"{100 * one(coverage, seeds=n)['coverage']:.0f}"

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
            "\\* Some runs end with a class they never predict. Such an interval is too short: where a fifth of "
            f"runs does, it holds {held(5)} % at n = 5 and {held(10)} % at n = 10, and less where more do "
            "([coverage](results/reference/coverage.md)).",
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
    return shown(rows.iloc[0]) + ("*" if rows.iloc[0]["dead_class_rate"] > 0 else "")


def filled(readme: str) -> str:
    """The README with its blocks made anew."""
    for name, block in [("answers", answers()), ("plan", plan()), ("ladder", ladder()), ("results", results())]:
        if re.search(r"\bnan\b", block):
            raise SystemExit(f"the block '{name}' would say nan: the records in results/reference/ do not answer it")
        readme = re.sub(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\g<1>{block}\n\g<2>", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(text != filled(text) and "README.md and results/reference/ disagree: run `make readme`")
    path.write_text(filled(text), encoding="utf-8")
