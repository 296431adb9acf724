"""Many cases on one machine, a SLURM cluster or a Dask cluster: each in isolation, each accounted for, finished ones
kept.

`index` says which cases there are, `job` does one of them, `worker` is the process that does it, `supervisor` watches
that process, and a runner (`local`, `slurm`, `dask`) spreads the cases. `rows` holds one file a case: these files are
the truth, and `table` merges them.
"""
