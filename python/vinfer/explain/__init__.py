"""Why an event was reported: the frame, the scores over time, what the network looked at
(docs/explain.md)."""

from vinfer.explain.explainer import (
    Traced,
    check_readable_twice,
    choose_event,
    explain_event,
    explain_events,
    explain_frame,
    score_history,
    trace_events,
)
from vinfer.explain.explanation import Explanation, WhatIf
from vinfer.explain.history import ScoreHistory, ScoreTrace
from vinfer.explain.occlusion import Fill, HeatMap, OcclusionSettings
from vinfer.explain.picture import explanation_jpeg, explanation_picture, write_explanation

__all__ = [
    "Explanation",
    "Fill",
    "HeatMap",
    "OcclusionSettings",
    "ScoreHistory",
    "ScoreTrace",
    "Traced",
    "WhatIf",
    "check_readable_twice",
    "choose_event",
    "explain_event",
    "explain_events",
    "explain_frame",
    "explanation_jpeg",
    "explanation_picture",
    "score_history",
    "trace_events",
    "write_explanation",
]
