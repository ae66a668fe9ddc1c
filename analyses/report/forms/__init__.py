"""The forms of charts: tidy rows in, a Vega-Lite specification out.

May import: theme.
"""

from steer_plugin.analyses.report.forms.drawing import Panel, Select
from steer_plugin.analyses.report.forms.heat_map import HeatMap
from steer_plugin.analyses.report.forms.lanes import Lanes
from steer_plugin.analyses.report.forms.lines import Lines
from steer_plugin.analyses.report.forms.scatter import Scatter

Form = Lanes | Lines | HeatMap | Scatter

__all__ = ["Form", "HeatMap", "Lanes", "Lines", "Panel", "Scatter", "Select"]
