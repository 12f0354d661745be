"""Checks a deployment: from outside as a client would, and its database where the settings lead to it.

Each check is a function in the table of its module, and answers with a `Finding`. What a check needs and does not
have is a warning, so that nothing looks checked that is not.
"""

from app.doctor.findings import FAILURE, OK, WARNING, Context, Finding, exit_status
from app.doctor.run import examine

__all__ = ["FAILURE", "OK", "WARNING", "Context", "Finding", "examine", "exit_status"]
