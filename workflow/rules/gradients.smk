# Gradient quality on frozen logits: what training cannot afford, N and K up to a thousand each.

QUALITY = f"{RESULTS}/gradient_quality.parquet"


if "gradient_quality" in config:
    SPEC = configuration.quality_spec(config)

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
        log:
            f"{RESULTS}/logs/gradient_quality.log",
        params:
            spec=json.dumps(SPEC, sort_keys=True),
        shell:
            "esgrad quality {params.spec:q} --out {output:q} > {log:q} 2>&1"
