// Socket.IO on Node. Where SECRET is set it does what the whole application does for a connection: the token is checked
// and a client subscribes to a session or to a chat of it.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { obey, say } from "./control.mjs";
import { signIn } from "./subscriptions.mjs";

const { SECRET, PING_INTERVAL = "3600", DEFLATE } = process.env;

const http = createServer();
const io = new Server(http, {
  pingInterval: Number(PING_INTERVAL) * 1000,
  pingTimeout: 3_600_000,
  perMessageDeflate: DEFLATE ? { threshold: 128 } : false,
});

if (SECRET) {
  signIn(io, SECRET);
} else {
  io.on("connection", (socket) => socket.join(socket.handshake.auth.room));
}

let watched = [];
io.on("connection", (socket) => {
  if (watched.length < 16) watched.push(socket.conn);
  socket.on("disconnect", () => {
    watched = watched.filter((conn) => conn !== socket.conn);
  });
});

obey({
  emit: (room, event) => io.to(`r${room}`).emit("new_message", event),
  ready: () => watched.every((conn) => conn.writeBuffer.length === 0),
});
http.listen(0, "127.0.0.1", 1024, () => say({ listening: http.address().port }));
