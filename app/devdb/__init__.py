"""A private MongoDB for development and tests, run beside the server. Production names its own in MONGODB_URI."""

from app.devdb.database import find_mongod, run, uri_of_running
from app.devdb.mongod import DevDatabaseError

__all__ = ["DevDatabaseError", "find_mongod", "run", "uri_of_running"]
