# What is measured at networks on their way through a training, without training by the estimators: how good their
# gradients are, and how large N must be. One job for each K.

MEASUREMENTS = {
    section: measurements.specifications(config, section) for section in measurements.SECTIONS if section in config
}


def measured(section):
    """What a section leaves, a table for each K."""
    return [f"{RESULTS}/{measurements.path(section, k)}" for k in MEASUREMENTS.get(section, ())]


def measured_data(section, wildcards):
    """The decoded data set that the checkpoints are trained on; none where there are no checkpoints."""
    training = MEASUREMENTS[section][int(wildcards.logit_dim)]["checkpoints"]
    return [f"results/data/{training['dataset']}.safetensors"] if training else []


def measured_sources(section, wildcards):
    """The source files that decide what is measured."""
    spec = MEASUREMENTS[section][int(wildcards.logit_dim)]
    training = {key: spec["checkpoints"][key] for key in spec["checkpoints"] or () if key != "stages"}
    trained = sources.of_job(configuration.backprop_job(**training)) if training else []
    return sorted({*map(os.path.relpath, trained), *module_sources(*measurements.files(section, spec))})


def measured_spec(section, wildcards):
    """The specification as JSON."""
    return json.dumps(MEASUREMENTS[section][int(wildcards.logit_dim)], sort_keys=True)


rule gradient_quality:
    input:
        lambda wildcards: measured_sources("gradient_quality", wildcards),
        data=lambda wildcards: measured_data("gradient_quality", wildcards),
    output:
        f"{RESULTS}/{measurements.path('gradient_quality', '{logit_dim}')}",
    log:
        f"{RESULTS}/logs/gradient_quality/logit_dim={{logit_dim}}.log",
    params:
        spec=lambda wildcards: measured_spec("gradient_quality", wildcards),
    shell:
        "esgrad quality {params.spec:q} --data {input.data:q} --out {output:q} > {log:q} 2>&1"


rule samples_needed:
    input:
        lambda wildcards: measured_sources("samples_needed", wildcards),
        data=lambda wildcards: measured_data("samples_needed", wildcards),
    output:
        f"{RESULTS}/{measurements.path('samples_needed', '{logit_dim}')}",
    log:
        f"{RESULTS}/logs/samples_needed/logit_dim={{logit_dim}}.log",
    params:
        spec=lambda wildcards: measured_spec("samples_needed", wildcards),
        data=lambda wildcards, input: f"--data {shlex.quote(input.data[0])}" if input.data else "",
    shell:
        "esgrad samples {params.spec:q} {params.data} --out {output:q} > {log:q} 2>&1"
