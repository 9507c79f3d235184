"""Write README.md and RESULTS.md from their templates in workflow/pages/ and the committed reference results.

The templates are Markdown with Jinja2's {{ … }} where a number or a table stands, so that nobody types one:
`make pages`. The numbers in sentences are here, the tables in page_tables.py; both read by committed.py.
"""

import subprocess
import sys
from pathlib import Path

import jinja2
import page_tables
import pandas as pd
from committed import accuracies, accuracy, chosen, config, exponents, one, table

from esgrad.suite import label_search
from esgrad.tasks.data import describe, num_train

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "workflow" / "pages"


def trained(method: str, k: int, n: int) -> str:
    """Final accuracy at K logits and N samples."""
    return accuracy(one(accuracies("default", "logit_dim"), method=method, logit_dim=k, num_samples=n))


def digit_sum(method: str, n: int | None = None) -> str:
    """Final accuracy where only the sum of two digits is judged."""
    rows = chosen(accuracies("default", "digit_sum"), method=method)
    return accuracy(one(rows if n is None else chosen(rows, num_samples=n)))


def openai_es(suite: str, experiment: str) -> str:
    """Final accuracy of OpenAI's arm with right and wrong at N = 100."""
    cell = {"method": "openai_es", "blackbox": "zero_one", "num_samples": 100}
    return accuracy(one(accuracies(suite, experiment), **cell))


def law(shaping: str, k: int, *, credit: str, blackbox: str = "zero_one") -> str:
    """N for a cosine of one half, of one example at equal logits of K for each of its readings, by its law."""
    noise = "independent" if credit == "noise" else "gumbel"
    wanted = {"noise": noise, "credit": credit, "shaping": shaping, "blackbox": blackbox, "logit_dim": k}
    rows = chosen(table("default", "how_many_samples"), **wanted)
    return f"{rows['num_samples_half'].iloc[0]:,.0f}"


def laws_inside() -> str:
    """In how many rows of the table of powers the law lies within the interval."""
    frame = exponents("default", 0.5)
    inside = (frame["low"] <= frame["predicted"]) & (frame["predicted"] <= frame["high"])
    return f"In {inside.sum()} of {len(frame)} rows the law lies within the interval."


def worst_t() -> str:
    """The fixed t at which every method that samples ends worst, at each K and N; there may be none."""
    frame = pd.concat([accuracies("default", experiment) for experiment in ("variance", "variance_logit_dim")])
    frame = frame[frame["num_samples"].notna() & ~frame["method"].isin(table("default", "rules")["method"])]
    rows = frame.loc[frame.groupby(["experiment", "method", "num_samples"])["test_accuracy_mean"].idxmin()]
    if rows["noise_variance"].nunique() != 1:
        raise SystemExit("no single t is the worst for every method that samples: RESULTS.md needs other words")
    return f"{rows['noise_variance'].iloc[0]:g}"


def seeds(suite: str = "default", experiment: str = "headline") -> int:
    """Reported runs of a cell of an experiment."""
    return int(accuracies(suite, experiment)["num_seeds"].max())


def given_rate(experiment: str) -> str:
    """The one learning rate that an experiment's configuration gives all its methods."""
    return f"{config()['experiments'][experiment]['learning_rates']:g}"


def per_label(k: int) -> str:
    """Queries that look one label of K up."""
    return f"{label_search.queries_per_label([1] * k):.1f}"


def per_sum(digits: int) -> str:
    """Queries that look the sum of so many digits up."""
    chances = label_search.chances("digit_sum", f"digit_strings-{digits}", 10)
    return f"{label_search.queries_per_label(chances):.1f}"


def covered(level: str) -> str:
    """With what probability an interval of N holds the median of such subjects."""
    rows = chosen(table("default", "samples_needed"), level=level, stage="trained")
    return f"{rows['coverage'].min():.3g}"


def split(dataset: str) -> str:
    """How many images of a data set are for what."""
    about = describe(dataset)
    train, (total, *_) = num_train(about), about["counts"]
    rest = (total - train) // 2
    return f"{train:,} images for training, {rest:,} for validation and {rest:,} for the test"


def plan(words: str) -> str:
    """What `esgrad plan` prints."""
    command = [str(Path(sys.executable).parent / "esgrad"), "plan", *words.split()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"```\n$ esgrad plan {words}\n{said.rstrip()}\n```"


def rendered(name: str) -> str:
    """A page, from its template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    everything = vars(page_tables) | globals()
    known = {word: thing for word, thing in everything.items() if callable(thing) and not word.startswith("_")}
    text = environment.get_template(name).render(**known)
    if "nan" in text.replace("|", " ").split():
        raise SystemExit(f"{name} would say nan: the records in results/reference/ do not answer it")
    return text


if __name__ == "__main__":
    for page in sorted(path.name for path in TEMPLATES.glob("*.md")):
        target = ROOT / page
        if "--check" in sys.argv:
            if target.read_text(encoding="utf-8") != rendered(page):
                sys.exit(f"{page} and results/reference/ disagree: run `make pages`")
        else:
            target.write_text(rendered(page), encoding="utf-8")
