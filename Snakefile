# The door: `snakemake --cores all` here runs the suite; the workflow itself lies in workflow/.
include: "workflow/Snakefile"


rule suite:
    default_target: True
    input:
        rules.all.input,
