"""What the tests of the report share: results with everything that a run can measure."""

import dataclasses

import pytest

from steer_plugin.analyses.run.results import Results

from support.frames_of_extras import controls_frame, generation_frame, methods_frame
from support.frames_of_paper import paper_results


@pytest.fixture(scope="package")
def run() -> Results:
    base = paper_results(layers=("0", "12", "final"), top_ks=(50, 300, 1500), sentences=6)
    return dataclasses.replace(
        base, controls=controls_frame(), methods=methods_frame(), generation=generation_frame()
    )
