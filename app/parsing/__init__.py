"""From the bytes of a body to the commands that store it, here or in a process of its own.

A body takes the event loop for some milliseconds at most. One that may take longer, by its size or by the number of its
values, is parsed in a worker process, one at a time; sessions take turns.
"""

from app.parsing.job import MAX_BODY, MAX_PROVIDER_BODY, Job, Parsing
from app.parsing.parser import Parser

__all__ = ["MAX_BODY", "MAX_PROVIDER_BODY", "Job", "Parser", "Parsing"]
