"""Many files, one recipe: jobs made of text, for any executor, that may be run again after anything."""

from napari_dip.run.batch.execute import batch, perform
from napari_dip.run.batch.executors import Workers, dask_workers, local_workers
from napari_dip.run.batch.job import Job, Row
from napari_dip.run.batch.plan import jobs_for
from napari_dip.run.batch.summary import SUMMARY, write_summary

__all__ = [
    "SUMMARY",
    "Job",
    "Row",
    "Workers",
    "batch",
    "dask_workers",
    "jobs_for",
    "local_workers",
    "perform",
    "write_summary",
]
