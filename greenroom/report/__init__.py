"""Pictures, charts and reports of runs and of generated lands."""

from greenroom.report.recorder import RunRecorder
from greenroom.report.report import write_report
from greenroom.report.run import RunData

__all__ = ["RunData", "RunRecorder", "write_report"]
