// Socket.IO on Bun with its own engine.

import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { obey, say } from "./control.mjs";

const io = new Server();
const engine = new Engine({ path: "/socket.io/", pingInterval: 3_600_000, pingTimeout: 3_600_000 });
io.bind(engine);
io.on("connection", (socket) => socket.join(socket.handshake.auth.room));

obey({ emit: (room, event) => io.to(`r${room}`).emit("new_message", event) });
// As in its own description, but nobody is closed for being silent between two measurements.
const { websocket, ...handler } = engine.handler();
const server = Bun.serve({
  ...handler,
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  websocket: { ...websocket, idleTimeout: 0 },
});
say({ listening: server.port });
