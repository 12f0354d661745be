// The part of Roomcast's contract that the bench uses, as one would write it with socket.io.

import jwt from "jsonwebtoken";

export function verify(token, secret) {
  const claims = jwt.verify(token, secret, { algorithms: ["HS256"], audience: "roomcast" });
  if (typeof claims.sub !== "string" || typeof claims.exp !== "number") throw new Error("unauthorized");
  return claims;
}

export function may(claims, scope, sessionId) {
  return claims.scopes.includes(scope) && (claims.sessions.includes("*") || claims.sessions.includes(sessionId));
}

export const sessionRoom = (sessionId) => `session:${sessionId}`;
export const chatRoom = (sessionId, chatId) => `chat:${sessionId}:${chatId}`;

export function signIn(io, secret, seq = () => 0) {
  io.use((socket, next) => {
    try {
      socket.data.claims = verify(socket.handshake.auth.token, secret);
      next();
    } catch {
      next(Object.assign(new Error("unauthorized"), { data: { code: "unauthorized" } }));
    }
  });
  io.on("connection", (socket) => {
    const room = ({ sessionId, chatId }) => (chatId ? chatRoom(sessionId, chatId) : sessionRoom(sessionId));
    socket.on("subscribe", (payload, answer) => {
      if (typeof payload?.sessionId !== "string" || !may(socket.data.claims, "read", payload.sessionId)) {
        answer({ ok: false, error: { code: "forbidden", message: "forbidden" } });
        return;
      }
      socket.join(room(payload));
      answer({ ok: true, data: { position: { epoch: "bench", seq: seq(payload.sessionId) }, recovered: false } });
    });
    socket.on("unsubscribe", (payload, answer) => {
      socket.leave(room(payload));
      answer({ ok: true, data: {} });
    });
  });
}
