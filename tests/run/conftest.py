"""The run that all tests of this room share."""

from support.runs import finished_run as finished_run
