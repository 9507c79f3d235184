# From records to figures, each as PNG, SVG and the CSV of exactly what is drawn.

FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=menu.names("figures"), kind=["png", "svg", "csv"])


rule figure:
    input:
        SUITE,
        lambda wildcards: module_sources("suite.py", f"figures/{wildcards.figure}.py"),
    output:
        png=f"{RESULTS}/figures/{{figure}}.png",
        svg=report(
            f"{RESULTS}/figures/{{figure}}.svg",
            category="Figures",
            labels={"figure": "{figure}"},
            caption="../report/{figure}.rst",
        ),
        csv=f"{RESULTS}/figures/{{figure}}.csv",
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    resources:
        mem_mb=4000,
    shell:
        "esgrad figure {RESULTS:q} {wildcards.figure} > {log:q} 2>&1"
