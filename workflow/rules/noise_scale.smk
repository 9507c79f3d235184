# The gradient noise of a task's methods, at networks on their way through its backprop's training.

NOISE_TASKS = {path.removesuffix(".parquet"): jobs for path, jobs in configuration.noise_tasks(config).items()}
NOISE_SCALES = [f"{RESULTS}/{task}.parquet" for task in NOISE_TASKS]
NOISE_SPECS = {
    task: {"jobs": [json.loads(job.json()) for job in jobs], "num_draws": config["noise_scale"]["num_draws"]}
    for task, jobs in NOISE_TASKS.items()
}


wildcard_constraints:
    task="|".join(map(re.escape, NOISE_TASKS)) or "none",


rule noise_scale:
    input:
        data=lambda wildcards: f"results/data/{NOISE_TASKS[wildcards.task][0].dataset}.safetensors",
        records=lambda wildcards: [
            f"{RESULTS}/runs/{TRAINED_BY[job].path}/records.parquet"
            for job in NOISE_TASKS[wildcards.task]
            if job.exact == "backprop"
        ],
    output:
        f"{RESULTS}/{{task}}.parquet",
    log:
        f"{RESULTS}/logs/{{task}}.log",
    params:
        spec=lambda wildcards: json.dumps(NOISE_SPECS[wildcards.task], sort_keys=True),
        code=lambda wildcards: meaning(
            "measurement/noise_scale.py",
            *(path for job in NOISE_TASKS[wildcards.task] for path in sources.of_job(job)),
        ),
    shell:
        "esgrad noise {params.spec:q} --data {input.data:q} --records {input.records:q} --out {output:q}"
        " > {log:q} 2>&1"
