"""A private MongoDB for development and tests, run beside the server. In production, set MONGODB_URI instead."""

from app.devdb.database import find_mongod, run, uri_of_running
from app.devdb.mongod import DevDatabaseError

__all__ = ["DevDatabaseError", "find_mongod", "run", "uri_of_running"]
