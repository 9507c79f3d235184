# What is measured at networks on their way through a training, without training by the estimators: how good their
# gradients are, and how large N must be. One job for each K.


rule gradient_quality:
    input:
        data=lambda wildcards: measured_data("gradient_quality", wildcards),
    output:
        f"{RESULTS}/{measurements.path('gradient_quality', '{logit_dim}')}",
    log:
        f"{RESULTS}/logs/gradient_quality/logit_dim={{logit_dim}}.log",
    priority: MEASURING
    params:
        spec=lambda wildcards: measured_spec("gradient_quality", wildcards),
        code=lambda wildcards: measured_meaning("gradient_quality", wildcards),
    shell:
        "esgrad quality {params.spec:q} --data {input.data:q} --out {output:q} > {log:q} 2>&1"


rule samples_needed:
    input:
        data=lambda wildcards: measured_data("samples_needed", wildcards),
    output:
        f"{RESULTS}/{measurements.path('samples_needed', '{logit_dim}')}",
    log:
        f"{RESULTS}/logs/samples_needed/logit_dim={{logit_dim}}.log",
    priority: MEASURING
    params:
        spec=lambda wildcards: measured_spec("samples_needed", wildcards),
        code=lambda wildcards: measured_meaning("samples_needed", wildcards),
        data=lambda wildcards, input: f"--data {shlex.quote(input.data[0])}" if input.data else "",
    shell:
        "esgrad samples {params.spec:q} {params.data} --out {output:q} > {log:q} 2>&1"
