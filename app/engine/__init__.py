"""A fast and strict Socket.IO server (Engine.IO 4, Socket.IO 5) with python-socketio's API, on aiohttp.

It imports nothing else from the application and could be published separately. Start with `Server` and `Limits`.
"""

from .connection import Handshake
from .engine import Engine
from .limits import Limits
from .rooms import EVERYONE
from .server import Server
from .stats import Stats

__all__ = ["EVERYONE", "Engine", "Handshake", "Limits", "Server", "Stats"]
