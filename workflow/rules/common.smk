# The configuration, checked before anything starts; where its results lie; which sources decide them.

import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from esgrad.suite import config as configuration
from esgrad.suite import forecast, sharing, sources
from esgrad import menu
from esgrad.measurement import specifications as measurements

# The commands are those of the Python that runs Snakemake, wherever the caller's PATH points. glibc is to keep the memory
# that a step frees, in large pages: given back, it is zeroed again at every step, a sixth of a training at K = 1,000.
KEEP_MEMORY = {"hugetlb": 1, "mmap_threshold": 2**32, "trim_threshold": 2**34, "top_pad": 2**26}
TUNABLES = ":".join(f"glibc.malloc.{name}={value}" for name, value in KEEP_MEMORY.items())
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH GLIBC_TUNABLES={TUNABLES}; ")

try:
    config.update(configuration.validated(config))
    TRAINED_BY = sharing.lenders(filter(configuration.runnable, configuration.jobs(config)))
except (ValueError, OSError) as error:
    raise WorkflowError(f"configuration: {error}") from None

# Every job of which something is trained, by the folder of its records.
JOBS = {job.path: job for job in TRAINED_BY.values()}

# The longest first, so that none is left to one core at the end: what others wait for, measurements, then training.
AWAITED, MEASURING = 10**7, 10**6

RESULTS = f"results/{config['name']}"
REPORT = (
    f"{shlex.quote(sys.executable)} -m snakemake --report {RESULTS}/report.html --configfile {RESULTS}/suite.json"
    f" > {RESULTS}/logs/report.log 2>&1 && echo '{RESULTS}/report.html is there: open it in a browser'"
)
PARTIAL = (
    f"if [ -f {RESULTS}/suite.json ]; then rm -rf {RESULTS}/partial;"
    f" esgrad tables {RESULTS} --partial --out {RESULTS}/partial/tables &&"
    f" esgrad figure {RESULTS} all --partial --out {RESULTS}/partial/figures;"
    f" echo 'A job failed; what could be drawn without it lies in {RESULTS}/partial/'; fi"
)

if workflow.is_main_process:
    logger.info(forecast.summary(config))


def meaning(*starts):
    """What the code behind some files of the package means, as a digest: a comment in them reruns nothing."""
    return sources.digest(sources.closure(starts))


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


def measured_meaning(section, wildcards):
    """The digest of the code that decides what is measured."""
    spec = MEASUREMENTS[section][int(wildcards.logit_dim)]
    training = {key: spec["checkpoints"][key] for key in spec["checkpoints"] or () if key != "stages"}
    trained = sources.of_job(configuration.backprop_job(**training)) if training else []
    return meaning(*trained, *measurements.files(section, spec))


def measured_spec(section, wildcards):
    """The specification as JSON."""
    return json.dumps(MEASUREMENTS[section][int(wildcards.logit_dim)], sort_keys=True)


def labels(kind, name, shown):
    """What the report's list says of a figure or table; of `shown` it makes a switch."""
    return {kind.removesuffix("s"): name.replace("_", " "), "what it says": menu.summary(kind, name), "shown as": shown}


wildcard_constraints:
    job="|".join(map(re.escape, JOBS)) or "none",
    logit_dim=r"\d+",
    table="|".join(menu.names("tables")),
    figure="|".join(menu.names("figures")),
