#!/bin/bash
# LSF, which has no runner of its own; as packaging/pbs.sh says, but: bsub < packaging/lsf.sh
#BSUB -J "gliomask[1-12]"
#BSUB -n 4
#BSUB -R "span[hosts=1] rusage[mem=4GB]"
#BSUB -W 2:00
#BSUB -r
set -eu
out=/results/out
exec gliomask cohort work "$out" --workers 2 --threads 2 --chunk "$out/.cohort/slurm/1/chunks/$LSB_JOBINDEX.tsv"
