"""The CSV and the JSON of a report hold what its tables hold, each value where it belongs."""

import csv
import json
from dataclasses import replace

import pytest

from kdray.condition import Condition
from kdray.reporting.analysis import analyse
from kdray.reporting.flat import write_csv
from kdray.reporting.write import write_report
from kdray.scoring.result import Result, Score

pytestmark = pytest.mark.slow


@pytest.fixture
def filled(study):
    """Two points, a teacher, and a condition without translations."""
    for point in ((("noise", "0.0"),), (("noise", "0.1"), ("text", 'a,b\n"c"'))):
        for split in study.refs:
            for seed in (1, 2):
                study.run("ce", error=0.4, seed=seed, split=split, point=point, length=400)
                study.run("hybrid", error=0.1, seed=seed, split=split, point=point, length=400)
        study.run("teacher", error=0.05, role="teacher", point=point)
    scores = {"loss": Score(2.5, "nats a token", False)}
    changes = {"condition": Condition("teacher-forcing"), "scores": scores, "hyps_path": None}
    study.run("ce", error=0.4, point=point, **changes)
    return study


def test_the_csv_holds_a_line_for_each_row_and_metric_of_each_table(filled, tmp_path):
    tables = analyse(filled.results, study=filled.facts()).tables
    write_csv(tmp_path / "results.csv", tables)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    wanted = [
        (table, row, metric) for table in tables for row in table.rows for metric in row.scores
    ]
    assert len(lines) == len(wanted)
    for line, (table, row, metric) in zip(lines, wanted, strict=True):
        place = dict(table.point)
        shown = (line["axes.noise"], line["axes.text"])
        assert shown == (place["noise"], place.get("text", ""))
        assert (line["split"], line["condition"]) == (table.split, table.condition.name)
        assert (line["method"], line["role"], line["size"], line["metric"]) == (
            *(row.method, row.cell.role, row.cell.size, metric),
        )
        assert line["updates"] == ("" if row.cell.length is None else str(row.cell.length))
        assert line["seeds"] == str(len(row.seeds))
        sd = row.scores[metric].sd
        assert (line["mean"], line["sd"]) == (
            *(str(row.scores[metric].mean), "" if sd is None else str(sd)),
        )
        assert line["num_params"] == str(row.num_params)
        each = table.to_baseline(row, metric)
        told = {
            "difference": None if each is None else each.value,
            "low": None if each is None else each.low,
            "high": None if each is None else each.high,
            "p_uncorrected": None if each is None else each.p_uncorrected,
            "p": None if each is None else each.p,
            "finding": None if each is None else str(each.finding),
        }
        assert {name: line[name] for name in told} == {
            name: "" if value is None else str(value) for name, value in told.items()
        }
    findings = {line["finding"] for line in lines if line["split"] == "test-news"}
    assert findings == {"", "significant"}


def test_the_json_holds_results_tables_verdicts_and_axes(filled, tmp_path):
    study = filled.facts(axes={"noise": {"0.0": 0.0, "0.1": 0.1}})
    results = [replace(run, decode_tokens_per_second=None) for run in filled.results]  # no plots
    analysis = analyse(results, study=study)
    write_report(tmp_path, study=study, results=results, analysis=analysis, curves={})
    data = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [Result.from_json(record) for record in data["results"]] == results
    assert [verdict["chosen"] for verdict in data["verdicts"]] == ["hybrid", "hybrid"]
    assert data["overview"]["headline"] == analysis.overview.headline
    assert [along["axis"] for along in data["axes"]] == [along.axis for along in analysis.alongs]
    for shown, table in zip(data["tables"], analysis.tables, strict=True):
        assert (shown["split"], shown["condition"]) == (table.split, table.condition.name)
        for row, each in zip(shown["rows"], table.rows, strict=True):
            assert (row["method"], row["role"], row["length"]) == (
                *(each.method, each.cell.role, each.cell.length),
            )
            assert {name: spread["mean"] for name, spread in row["scores"].items()} == {
                name: spread.mean for name, spread in each.scores.items()
            }
        told = [(d["method"], d["other"], d["metric"]) for d in shown["differences"]]
        assert told == [(d.method, d.other, d.metric) for d in table.differences]
        for said, each in zip(shown["differences"], table.differences, strict=True):
            assert (said["value"], said["p"], said["finding"]) == (each.value, each.p, each.finding)
