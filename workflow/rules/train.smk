# One job trains every N, t, learning rate and seed of one method on one task; each leaves its records.


rule train:
    input:
        data=lambda wildcards: f"results/data/{JOBS[wildcards.job].dataset}.safetensors",
    output:
        records=f"{RESULTS}/runs/{{job}}/records.parquet",
        tuning=f"{RESULTS}/runs/{{job}}/tuning.parquet",
        timing=f"{RESULTS}/runs/{{job}}/timing.parquet",
        provenance=f"{RESULTS}/runs/{{job}}/provenance.json",
    log:
        f"{RESULTS}/logs/{{job}}.log",
    priority: lambda wildcards: forecast.core_seconds(JOBS[wildcards.job])
    threads: 1
    params:
        device=config["device"],
        job=lambda wildcards: JOBS[wildcards.job].json(),
        code=lambda wildcards: sources.digest_of_job(JOBS[wildcards.job]),
        out=lambda wildcards, output: os.path.dirname(output.records),
    shell:
        "esgrad job {params.job:q} --data {input.data:q} --device {params.device} --out {params.out:q}"
        " > {log:q} 2>&1"
