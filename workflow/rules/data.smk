# Each data set decoded once, into one file that is safe to load, with its digest beside it.


rule data:
    output:
        data="results/data/{dataset}.safetensors",
        digest="results/data/{dataset}.safetensors.sha256",
    log:
        "results/data/logs/{dataset}.log",
    priority: AWAITED
    params:
        data_root=config["data_root"],
        code=lambda wildcards: meaning("tasks/data.py", f"tasks/datasets/{wildcards.dataset.split('-')[0]}.py"),
    shell:
        "esgrad decode {wildcards.dataset} --data-root {params.data_root:q} --out {output.data:q} > {log:q} 2>&1"
