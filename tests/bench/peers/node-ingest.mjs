// The reference for what comes in by the webhook: Express, the MongoDB driver and socket.io, put together as one would.
// A message is inserted, its chat updated, and both are pushed; then the sender is answered.

import { createServer } from "node:http";
import express from "express";
import { MongoClient } from "mongodb";
import { Server } from "socket.io";
import { obey, say } from "./control.mjs";
import { chatRoom, may, sessionRoom, signIn, verify } from "./subscriptions.mjs";

const { SECRET, MONGODB_URI, MONGODB_DATABASE } = process.env;

const client = await MongoClient.connect(MONGODB_URI, { writeConcern: { w: "majority", journal: true } });
const db = client.db(MONGODB_DATABASE);
const messages = db.collection("messages");
const chats = db.collection("chats");
await messages.createIndex({ sessionId: 1, chatId: 1, messageId: 1 }, { unique: true });
await chats.createIndex({ sessionId: 1, chatId: 1 }, { unique: true });

const app = express();
const http = createServer(app);
const io = new Server(http, { pingInterval: 3_600_000, perMessageDeflate: false });
let seq = 0;
signIn(io, SECRET, () => seq);

app.post("/webhook/:sessionId", express.json({ limit: "1mb" }), async (request, response) => {
  const { sessionId } = request.params;
  try {
    const claims = verify((request.get("authorization") ?? "").replace(/^Bearer /, ""), SECRET);
    if (!may(claims, "ingest", sessionId)) throw new Error("forbidden");
  } catch {
    response.status(401).json({ code: "unauthorized" });
    return;
  }
  const results = [];
  for (const incoming of request.body.messages ?? [request.body]) {
    const { chatId, messageId, text, sender } = incoming;
    const now = new Date();
    const number = (seq += 1);
    const message = {
      messageId, sessionId, chatId, seq: number, updatedSeq: number, fromMe: false, sender, type: "text", text,
      media: null, replyTo: null, status: "received", timestamp: now, receivedAt: now,
    };
    const last = { messageId, type: "text", text: text.slice(0, 120), fromMe: false, senderName: sender.name, timestamp: now };
    try {
      await messages.insertOne({ ...message });
    } catch (error) {
      if (error.code !== 11000) throw error;
      results.push({ messageId, seq: number, duplicate: true });
      continue;
    }
    await chats.updateOne(
      { sessionId, chatId },
      {
        $set: { name: sender.name, lastMessage: last, lastSeq: number, updatedSeq: number, updatedAt: now },
        $inc: { unreadCount: 1 },
        $setOnInsert: { readSeq: 0 },
      },
      { upsert: true },
    );
    const chat = {
      sessionId, chatId, name: sender.name, unreadCount: number, lastMessage: last, lastSeq: number, readSeq: 0,
      updatedSeq: number, updatedAt: now,
    };
    io.to([sessionRoom(sessionId), chatRoom(sessionId, chatId)])
      .emit("new_message", { sessionId, chatId, seq: number, message, chat });
    results.push({ messageId, seq: number, duplicate: false });
  }
  response.json({ ok: true, data: { results } });
});

io.on("connection", (socket) => {
  socket.on("serve", ({ sessionId }, answer) => {
    if (!may(socket.data.claims, "deliver", sessionId)) return answer({ ok: false, error: { code: "forbidden" } });
    socket.join(`bots:${sessionId}`);
    return answer({ ok: true, data: {} });
  });
  socket.on("send_message", async ({ sessionId, chatId, clientId, text }, answer) => {
    if (!may(socket.data.claims, "send", sessionId)) return answer({ ok: false, error: { code: "forbidden" } });
    const now = new Date();
    const number = (seq += 1);
    const message = {
      messageId: clientId, sessionId, chatId, seq: number, updatedSeq: number, fromMe: true, sender: { id: sessionId, name: null },
      type: "text", text, media: null, replyTo: null, status: "pending", timestamp: now, receivedAt: now,
      author: { id: socket.data.claims.sub, name: null }, clientId,
    };
    await messages.insertOne({ ...message });
    io.to([sessionRoom(sessionId), chatRoom(sessionId, chatId)]).emit("new_message", { sessionId, chatId, seq: number, message });
    io.to(`bots:${sessionId}`).emit("deliver", { deliveryId: clientId, sessionId, chatId, message });
    return answer({ ok: true, data: { message } });
  });
});

obey({ emit: () => undefined });
http.listen(0, "127.0.0.1", 1024, () => say({ listening: http.address().port }));
