"""A plan in plain lines to act on: the N, what it buys, what it costs, who says so, what is assumed."""

from typing import Any

from esgrad import menu
from esgrad.planning.box import BLACKBOX
from esgrad.planning.price import NEAR

LAWS = {
    "logits": "exact moments of the estimate given its hits (esgrad.laws); only its shape is taken as Gaussian",
    "parameters": "cos² ~ Beta(n/2, (d − 1)/2) for n = N/2 mirrored pairs, exact where the fitness is linear",
}

EXACT = "exact (esgrad.laws): an estimate points along the exact gradient, or is 0 where no sample hits"
"""Of samples credited with the class whose misses have no weight."""
HALF = 0.5
FORGIVES = "a whole training forgives almost any fixed t that is not small, its rate tuned"


def lines(answer: dict[str, Any]) -> list[str]:
    """What `esgrad.plan` returned, as lines of `word   sentence`."""
    rows = [("answer", _answer(answer)), ("place", _place(answer))]
    if "price" in answer:
        rows.append(("aims", _aims(answer)))
    rows += [("buys", _buys(answer)), ("costs", _costs(answer))]
    if "price" in answer:
        rows += _price(answer)
    if answer.get("num_samples_quantiles"):
        rows += _examples(answer)
    rows += [("knows", _knows(answer)), *_assumes(answer)]
    return [f"{word:9}{text}" for word, text in rows]


def number(value: float | None) -> str:
    """12,345 or 0.0123: three digits below a thousand, whole above, powers of ten beyond 10¹²."""
    if value is None:
        return "more than 1e+18"
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e12 else f"{value:.3g}"


def _knows(answer: dict[str, Any]) -> str:
    silent = not menu.load("shapings", answer["shaping"]).WEIGHS_MISSES
    alone = answer["credit"] == "class" and answer["readings"] == 1
    return EXACT if alone and silent else LAWS[answer["space"]]


def _answer(answer: dict[str, Any]) -> str:
    per = "example" if answer["space"] == "logits" else "step, both signs counted"
    low, high = answer.get("num_samples_within_tenth") or (0, 0)
    if low < high:
        within = f"all within a tenth of the least price, that of N = {answer['num_samples']:,}"
        return f"N = {low:,} to {high:,} samples per {per}, {within}"
    pairs = f" ({number(answer['pairs'])} mirrored pairs)" if "pairs" in answer else ""
    return f"N = {answer['num_samples']:,} samples per {per}{pairs}"


def _place(answer: dict[str, Any]) -> str:
    pair = f"{_named(answer)}, t = {answer['noise_variance']:g}"
    if answer["space"] == "parameters":
        return f"noise at d = {answer['parameters']:,} parameters, {pair}"
    return f"noise at the logits, {pair}; {_logits(answer)}"


def _logits(answer: dict[str, Any]) -> str:
    """Which they are, and who judges them where it is not the lecture's box."""
    readings, each = answer["readings"], f"{answer['logit_dim']:,}"
    shape = ""
    if answer["blackbox"] != BLACKBOX:
        shape = f", {readings} reading{'s' if readings > 1 else ''} of {each}, judged by {answer['blackbox']}"
    if "num_examples" not in answer:
        start = f"K = {each} equal logits, a network's start"
        return f"{start}{shape}{_strings(answer)}" if readings > 1 else f"{start}{shape}"
    yours = f"your {answer['num_examples']:,} × {readings * answer['logit_dim']:,} logits{shape}"
    if answer["num_examples_used"] < answer["num_examples"]:
        return f"{yours}, for which {answer['num_examples_used']:,} examples drawn at random stand"
    return yours


def _strings(answer: dict[str, Any]) -> str:
    """What is averaged over, and how much of it has no gradient to be estimated."""
    silent = answer["share_without_gradient"]
    counted = f" ({silent:.0%} of them have the gradient 0, and count as a cosine of 0)" if silent else ""
    return f", the mean over all strings of classes{counted}"


def _named(answer: dict[str, Any]) -> str:
    """noise × shaping; the credit where it is not the lecture's."""
    credit = "" if answer["credit"] == "noise" else f"{answer['credit']} × "
    return f"{answer['noise']} × {credit}{answer['shaping']}"


def _aims(answer: dict[str, Any]) -> str:
    objective, share = answer["objective"], answer["objective_share"]
    if "shaping" not in answer["chosen"]:
        why = f"as shaping {answer['shaping']} does"
    elif objective == "log p":
        why = "as no shaping was named and ∇p vanishes on confidently wrong examples"
    else:
        why = f"as no shaping of ∇log p has a law with {answer['noise']} noise"
    text = f"∇{objective}, {why}; for others S_min, the steps with the exact gradient, is another"
    if share is None:
        return text
    mean = f"{text}. This N's mean is {share:.3g} of it"
    return f"{mean}, closer to ∇p, whose S_min is larger" if share < HALF else mean


def _buys(answer: dict[str, Any]) -> str:
    mean = "a mean cosine" if "num_examples" in answer else "an expected cosine"
    variance = f"tr Var g = {number(answer['gradient_variance'])}"
    relative = answer["relative_variance"]
    unit = f"{variance}, {number(relative)} times the squared gradient" if relative is not None else variance
    if answer["space"] == "parameters":
        unit = f"{variance} times the squared gradient"
    return f"{mean} of {answer['cosine']:.4g} to the exact gradient (√E cos² = {answer['rms_cosine']:.4g}); {unit}"


def _costs(answer: dict[str, Any]) -> str:
    count = answer["num_samples"]
    forwards = "one forward pass" if answer["space"] == "logits" else f"{count:,} forward passes"
    text = f"{count:,} queries and {forwards} per example and step"
    batch = answer.get("batch_size")
    return f"{text}; {count * batch:,} queries a step at B = {batch:,}" if batch else text


def _price(answer: dict[str, Any]) -> list[tuple[str, str]]:
    spent = f"{number(answer['queries'])} queries and {number(answer['forwards'])} forward passes"
    rows = [
        (
            "batch",
            f"B = {number(answer['batch_size'])}, beside a noise scale of {number(answer['noise_scale'])} examples"
            f"{_batch(answer)}",
        ),
        ("price", f"{number(answer['price'])} to the target: {spent} in {number(answer['steps'])} steps"),
        (
            "sure",
            f"{number(answer['price_low'])} to {number(answer['price_high'])} if the data's noise scale is half or "
            f"twice {number(answer['data_noise_scale'])}, per {number(answer['min_steps'])} steps of S_min, to which "
            "all prices are proportional",
        ),
    ]
    near = [
        _named(other)
        for other in answer["alternatives"]
        if other["price"] <= NEAR * answer["price"]
        and (other["noise"], other["shaping"]) != (answer["noise"], answer["shaping"])
    ]
    if "num_examples" in answer and "noise_variance" in answer["chosen"]:
        rows.append(("t", f"{answer['noise_variance']:g}, as nothing was said; {FORGIVES}"))
    if near:
        rows.append(("also", f"within a tenth of that price: {', '.join(near)}"))
    if other := answer["cheaper_credit"]:
        rows.append(("less", f"{number(other['price'])} with {_named(other)}: --credit {other['credit']}"))
    return rows


def _batch(answer: dict[str, Any]) -> str:
    chosen = "batch_size" in answer["chosen"]
    return "; a smaller B costs less, down to half, and takes more steps" if chosen else ""


def _examples(answer: dict[str, Any]) -> list[tuple[str, str]]:
    each = answer["num_samples_quantiles"]
    rows = [
        (
            "examples",
            f"alone, half of them need N ≤ {number(each['0.5'])}, a tenth ≤ {number(each['0.1'])}, nine tenths"
            f" ≤ {number(each['0.9'])}",
        )
    ]
    if answer["best_num_samples"] is not None:
        rows += [
            (
                "t",
                f"{answer['best_noise_variance']:g} takes fewest for this one step, to that t's own, blunter gradient: "
                f"N = {answer['best_num_samples']:,}{_at_an_end(answer)}",
            ),
            ("", FORGIVES),
        ]
    return rows


def _at_an_end(answer: dict[str, Any]) -> str:
    """Of a t at which the scan stopped."""
    low, high = answer["noise_variance_scanned"]
    ends = {low: "smallest", high: "largest"}
    best = answer["best_noise_variance"]
    return f" (the {ends[best]} t looked at: no optimum was found)" if best in ends else ""


def _assumes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    if answer["space"] == "parameters":
        return [("assumes", "a fitness that is linear over the noise, and one mini-batch for all N")]
    rows = [("assumes", "0/1 fitness, noise and cosine of each example at its logits, before the chain rule")]
    if "price" not in answer:
        return rows
    steps, scale = number(answer["min_steps"]), number(answer["data_noise_scale"])
    return [
        *rows,
        ("", "that the chain rule leaves noise relative to signal as it is"),
        ("", f"{steps} steps with the exact ∇{answer['objective']} of all data: --min-steps"),
        ("", f"a batch of {scale} examples has as much noise as gradient: --data-noise-scale"),
    ]
