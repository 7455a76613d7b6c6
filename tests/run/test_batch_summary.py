"""The table of a batch."""

import csv

from napari_dip.run.batch import JobResult, write_summary


def rows_of(path):
    with path.open(newline="") as file:
        return {row["output"]: row["state"] for row in csv.DictReader(file)}


def test_rows_are_merged_by_output(tmp_path):
    path = tmp_path / "summary.csv"
    write_summary(path, [JobResult("b.fits", "out/b.fits", "failed", reason="no space")])
    write_summary(path, [JobResult("a.fits", "out/a.fits", "restored", seconds=1.5)])
    write_summary(path, [JobResult("b.fits", "out/b.fits", "restored")])
    assert rows_of(path) == {"out/a.fits": "restored", "out/b.fits": "restored"}
    assert list(rows_of(path)) == ["out/a.fits", "out/b.fits"]


def test_a_table_of_another_kind_is_replaced(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("name,value\nx,1\n")
    write_summary(path, [JobResult("a.fits", "out/a.fits", "restored")])
    assert rows_of(path) == {"out/a.fits": "restored"}
