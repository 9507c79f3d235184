# The gradient noise of a task's methods, at networks on their way through its backprop's training.

NOISE_TASKS = configuration.noise_tasks(config)
NOISE_SCALES = [f"{RESULTS}/{path}" for path in NOISE_TASKS]


def noise_task(wildcards):
    return NOISE_TASKS[f"noise_scale/{wildcards.task}.parquet"]


def noise_spec(wildcards):
    """The task's jobs and the number of draws as JSON."""
    jobs = [json.loads(job.json()) for job in noise_task(wildcards)]
    return json.dumps({"jobs": jobs, "num_draws": config["noise_scale"]["num_draws"]}, sort_keys=True)


rule noise_scale:
    input:
        lambda wildcards: sorted(
            {os.path.relpath(path) for job in noise_task(wildcards) for path in sources.of_job(job)}
            | set(module_sources("noise_scale.py"))
        ),
        data=lambda wildcards: f"results/data/{noise_task(wildcards)[0].dataset}.safetensors",
        records=lambda wildcards: [
            f"{RESULTS}/runs/{job.path}/records.parquet" for job in noise_task(wildcards) if job.exact == "backprop"
        ],
    output:
        f"{RESULTS}/noise_scale/{{task}}.parquet",
    log:
        f"{RESULTS}/logs/noise_scale/{{task}}.log",
    params:
        spec=noise_spec,
    shell:
        "esgrad noise {params.spec:q} --data {input.data:q} --records {input.records:q} --out {output:q}"
        " > {log:q} 2>&1"
