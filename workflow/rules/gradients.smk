# Gradient quality on frozen logits: what training cannot afford, N and K up to a thousand each.

QUALITY = f"{RESULTS}/gradient_quality.parquet"


def quality_spec(section):
    """The section with its methods resolved: each noise with the shapings that share its draws."""
    pairs = {}
    for name in configuration.listed(section["methods"]):
        method = CONFIG["methods"][name]
        pairs.setdefault(method["noise"], []).append(method["shaping"])
    return {
        "pairs": pairs,
        "logit_dims": configuration.listed(section["logit_dim"]),
        "samples": configuration.listed(section["num_samples"]),
        "variances": configuration.listed(section["noise_variance"]),
        "spread": section["spread"],
        "num_examples": section["num_examples"],
        "num_draws": section["num_draws"],
    }


if "gradient_quality" in CONFIG:
    SPEC = quality_spec(CONFIG["gradient_quality"])

    rule gradient_quality:
        input:
            module_sources(
                "quality.py",
                "blackboxes/zero_one.py",
                *(f"noises/{noise}.py" for noise in SPEC["pairs"]),
                *(f"shapings/{shaping}.py" for shapings in SPEC["pairs"].values() for shaping in shapings),
            ),
        output:
            QUALITY,
        params:
            spec=json.dumps(SPEC, sort_keys=True),
        log:
            f"{RESULTS}/logs/gradient_quality.log",
        resources:
            mem_mb=4000,
        shell:
            "esgrad quality {params.spec:q} --out {output:q} > {log:q} 2>&1"
