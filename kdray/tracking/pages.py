"""Addresses of MLflow's pages, relative to the page that shows them: they hold for every server.

MLflow's pages are for GenAI unless an address says otherwise. A list of runs without a filter shows
runs like a tree that is closed; one with a filter is flat.
"""

from urllib.parse import urlencode

from kdray.tracking.contract import ROLE

_FOR_TRAINING = {"workflowType": "machine_learning"}


def run_page(experiment_id: str, run_id: str, artifact_file: str = "") -> str:
    """The page of a run, or of one of its files."""
    place = f"/artifacts/{artifact_file}" if artifact_file else ""
    return f"#/experiments/{experiment_id}/runs/{run_id}{place}?{urlencode(_FOR_TRAINING)}"


def list_page(experiment_id: str, role: str, *, metric: str, charts: bool = False) -> str:
    """The runs of a role, those with most of the metric first; as a table, or as charts."""
    query = {
        **_FOR_TRAINING,
        "searchFilter": f"tags.`{ROLE}` = '{role}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": "false",
        **({"compareRunsMode": "CHART"} if charts else {}),
    }
    return f"#/experiments/{experiment_id}/runs?{urlencode(query)}"
