# From records to tables, and the seconds they took, which lie apart as no two machines agree on them.

TABLES = expand(f"{RESULTS}/tables/{{table}}.{{kind}}", table=menu.names("tables"), kind=["csv", "html", "md"])
TIMINGS = expand(f"{RESULTS}/timings/{{name}}.csv", name=["seconds", "provenance"])
RECORDS = expand(f"{RESULTS}/runs/{{job}}/{{part}}.parquet", job=JOBS, part=["records", "tuning"])
SUITE = f"{RESULTS}/suite.json"
MEASURED = [*RECORDS, *(path for section in MEASUREMENTS for path in measured(section)), *NOISE_SCALES]


rule suite_description:
    output:
        SUITE,
    log:
        f"{RESULTS}/logs/suite.log",
    localrule: True
    params:
        # where the data lie and what trains are the machine's matter, not the suite's
        suite=json.dumps({key: config[key] for key in config if key not in ("data_root", "device")}, sort_keys=True),
    shell:
        "printf '%s\n' {params.suite:q} > {output:q} 2> {log:q}"


rule tables:
    input:
        MEASURED,
        suite=SUITE,
    output:
        expand(f"{RESULTS}/tables/{{table}}.md", table=menu.names("tables")),
        [
            report(
                f"{RESULTS}/tables/{table}.{kind}",
                category="Tables",
                labels=labels("tables", table, shown),
                caption="../report/tables.rst",
            )
            for table in menu.names("tables")
            for kind, shown in [("html", "page"), ("csv", "spreadsheet (CSV)")]
        ],
    log:
        f"{RESULTS}/logs/tables.log",
    priority: 1  # it takes as long as six figures: started last, it would keep one core waiting for the other
    params:
        folder=lambda wildcards, input: os.path.dirname(input.suite),
        code=meaning(
            "suite/gathered.py", "report/markdown.py", *(f"report/tables/{table}.py" for table in menu.names("tables"))
        ),
    shell:
        "esgrad tables {params.folder:q} > {log:q} 2>&1"


rule timings:
    input:
        expand(f"{RESULTS}/runs/{{job}}/{{part}}", job=JOBS, part=["timing.parquet", "provenance.json"]),
        suite=SUITE,
    output:
        TIMINGS,
    log:
        f"{RESULTS}/logs/timings.log",
    params:
        folder=lambda wildcards, input: os.path.dirname(input.suite),
    shell:
        "esgrad timings {params.folder:q} > {log:q} 2>&1"
