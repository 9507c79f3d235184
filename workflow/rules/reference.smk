# Figures of the committed reference results: redrawn from their records, never trained again.

REFERENCES = [path.parent.name for path in sorted(Path("results/reference").glob("*/suite.json"))]


rule reference_figures:
    input:
        expand(
            "results/reference/{reference}/figures/{figure}.{kind}",
            reference=REFERENCES,
            figure=menu.names("figures"),
            kind=["png", "svg", "csv"],
        ),


rule reference:
    input:
        suite="results/reference/{reference}/suite.json",
    output:
        expand(
            "results/reference/{{reference}}/figures/{figure}.{kind}",
            figure=menu.names("figures"),
            kind=["png", "svg", "csv"],
        ),
    log:
        "results/reference/{reference}/logs/figures.log",
    params:
        code=meaning("suite/gathered.py", *(f"report/figures/{name}.py" for name in menu.names("figures"))),
    shell:
        "esgrad figure results/reference/{wildcards.reference} all > {log:q} 2>&1"
