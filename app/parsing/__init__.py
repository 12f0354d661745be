"""Parses the bytes of a body into commands that store it, in this process or in a worker.

A body may use the event loop for a few milliseconds. If it may take longer, judging by its size and number of values,
it is parsed in a worker process, one body at a time; sessions take turns.
"""

from app.parsing.job import MAX_BODY, MAX_PROVIDER_BODY, Job, Parsing
from app.parsing.parser import Parser

__all__ = ["MAX_BODY", "MAX_PROVIDER_BODY", "Job", "Parser", "Parsing"]
