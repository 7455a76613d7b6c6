"""Many files, one recipe: jobs made of text, for any executor, that may be run again after anything."""

from napari_dip.run.batch.execute import run_job, run_jobs
from napari_dip.run.batch.job import Job, JobResult
from napari_dip.run.batch.plan import plan_jobs
from napari_dip.run.batch.summary import SUMMARY, write_summary
from napari_dip.run.executors import Workers, dask_workers, local_workers

__all__ = [
    "SUMMARY",
    "Job",
    "JobResult",
    "Workers",
    "dask_workers",
    "local_workers",
    "plan_jobs",
    "run_job",
    "run_jobs",
    "write_summary",
]
