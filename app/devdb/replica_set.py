"""Administration of a private mongod's replica set, which has one member."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import structlog
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from app.devdb.ports import HOST

SET_NAME: Final = "rs0"
USER: Final = "roomcast"

_NOT_YET_INITIALIZED: Final = 94
_USER_EXISTS: Final = 51003

log = structlog.get_logger(__name__)

Client = AsyncMongoClient[dict[str, Any]]


class ReplicaSet:
    """`key` is the password of the only user, and the key of the member."""

    def __init__(self, port: int, key: str) -> None:
        self.port, self._key = port, key

    @property
    def uri(self) -> str:
        """The URI with the password. Without directConnection, so that drivers wait for the primary after a restart."""
        return (
            f"mongodb://{USER}:{quote(self._key, safe='')}@{HOST}:{self.port}/?authSource=admin&replicaSet={SET_NAME}"
        )

    async def move(self, client: Client) -> None:
        """Write the port into the configuration, while mongod runs without a set."""
        change = {"$set": {"members": self.members()}, "$inc": {"version": 1}}
        await client["local"]["system.replset"].update_one({}, change)

    def client(self) -> Client:
        """Create this when the port is open, because the driver pauses for half a second after a failure."""
        return Client(
            HOST,
            self.port,
            directConnection=True,
            # As a member of the set, which needs no user. The password itself is never sent.
            username="__system",
            password=self._key,
            authSource="local",
            authMechanism="SCRAM-SHA-256",
            serverSelectionTimeoutMS=2_000,
            connectTimeoutMS=2_000,
            socketTimeoutMS=5_000,
        )

    def members(self) -> list[dict[str, Any]]:
        return [{"_id": 0, "host": f"{HOST}:{self.port}"}]

    async def is_primary(self, client: Client) -> bool:
        """Whether mongod is primary and the set is configured correctly. If not, does the next step towards that."""
        alone = self.members()
        try:
            hello = await client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return bool(hello.get("me") == alone[0]["host"]) and await self._set_password(client)
            try:
                config = (await client.admin.command("replSetGetConfig"))["config"]
            except OperationFailure as error:
                if error.code == _NOT_YET_INITIALIZED:
                    # Refused while mongod is still reading an existing configuration: try again.
                    await client.admin.command("replSetInitiate", {"_id": SET_NAME, "members": alone})
                return False
            if [member["host"] for member in config["members"]] != [alone[0]["host"]]:
                moved = {**config, "members": alone, "version": config["version"] + 1}
                await client.admin.command("replSetReconfig", moved, force=True)
        except PyMongoError as error:
            log.debug("mongod_is_not_primary_yet", reason=str(error))
        return False

    async def _set_password(self, client: Client) -> bool:
        """Set the password of the server's user, which is created if the data is older than the password."""
        try:
            await client.admin.command("createUser", USER, pwd=self._key, roles=["root"])
        except OperationFailure as error:
            if error.code != _USER_EXISTS:
                return False
            await client.admin.command("updateUser", USER, pwd=self._key)
        return True
