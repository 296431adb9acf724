#!/bin/bash
# PBS Professional and OpenPBS, which have no runner of their own. First, on a node with the data:
#   gliomask cohort /data/patients -o /results/out --slurm --pilot 3 --cpus 4
# which writes chunks into /results/out/.cohort/slurm/1/chunks and says how many, and what time and memory a task needs. Put these below, then:
#   qsub packaging/pbs.sh
#   gliomask cohort status /results/out
#PBS -N gliomask
#PBS -J 1-12
#PBS -l select=1:ncpus=4:mem=4gb
#PBS -l walltime=02:00:00
#PBS -r y
set -eu
out=/results/out
exec gliomask cohort work "$out" --workers 2 --threads 2 --chunk "$out/.cohort/slurm/1/chunks/$PBS_ARRAY_INDEX.tsv"
