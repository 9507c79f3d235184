# From records to figures, each as PNG, SVG and the CSV of exactly what is drawn.

FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=menu.names("figures"), kind=["png", "svg", "csv"])


rule figure:
    input:
        MEASURED,
        suite=SUITE,
    output:
        png=f"{RESULTS}/figures/{{figure}}.png",
        svg=report(
            f"{RESULTS}/figures/{{figure}}.svg",
            category="Figures",
            labels=lambda wildcards: labels("figures", wildcards.figure, "picture"),
            caption="../report/figure.rst",
        ),
        csv=report(
            f"{RESULTS}/figures/{{figure}}.csv",
            category="Figures",
            labels=lambda wildcards: labels("figures", wildcards.figure, "spreadsheet (CSV)"),
            caption="../report/figure.rst",
        ),
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    params:
        folder=lambda wildcards, input: os.path.dirname(input.suite),
        code=lambda wildcards: meaning("suite/gathered.py", f"report/figures/{wildcards.figure}.py"),
    shell:
        "esgrad figure {params.folder:q} {wildcards.figure} > {log:q} 2>&1"
