// A WhatsApp bot for Roomcast on Baileys. It posts all events to the webhook, and delivers agents' messages.
//
//   npm install && ROOMCAST_TOKEN=… node bot.mjs
//
// The token needs the scopes `ingest` and `deliver` for the session. Scan the QR code with the phone once. STATE_DIR keeps
// the account's keys and the events that are not posted yet, so both sides may be restarted at any time.
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import makeWASocket, { BufferJSON, DisconnectReason, useMultiFileAuthState } from "baileys";
import qrcode from "qrcode-terminal";
import { io } from "socket.io-client";

const { ROOMCAST_URL = "http://127.0.0.1:8080", ROOMCAST_SESSION = "shop", STATE_DIR = "state", ROOMCAST_TOKEN } = process.env;
const PAUSE_MS = 2000;
const REPEAT = new Set([401, 404, 408, 429]); // a token that is renewed, a server that is busy

// Events go to a file each before they are posted, in order, until the server has stored them.

const spool = path.join(STATE_DIR, "spool");
fs.mkdirSync(spool, { recursive: true });
let count = 0;
let posting = false;

function keep(events) {
  const name = `${String(Date.now()).padStart(15, "0")}-${String(count++).padStart(9, "0")}.json`;
  const file = path.join(spool, name);
  fs.writeFileSync(`${file}.part`, JSON.stringify(events, BufferJSON.replacer));
  fs.renameSync(`${file}.part`, file);
  void post();
}

async function post() {
  if (posting) return;
  posting = true;
  for (;;) {
    const [name] = fs.readdirSync(spool).filter((one) => one.endsWith(".json")).sort();
    if (name === undefined) break;
    const file = path.join(spool, name);
    const status = await postBody(fs.readFileSync(file));
    if (status >= 400 && status < 500 && !REPEAT.has(status)) console.error("refused by Roomcast:", status, name);
    else if (status !== 200) {
      await sleep(PAUSE_MS);
      continue;
    }
    fs.unlinkSync(file);
  }
  posting = false;
}

async function postBody(body) {
  try {
    const response = await fetch(`${ROOMCAST_URL}/webhook/${encodeURIComponent(ROOMCAST_SESSION)}/baileys`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${ROOMCAST_TOKEN}` },
      body,
      signal: AbortSignal.timeout(30_000),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0; // cannot be reached
  }
}

// The WhatsApp account.

let sock;
let state = "connecting";
const known = new Set(); // people who are on WhatsApp

async function start() {
  const { state: auth, saveCreds } = await useMultiFileAuthState(path.join(STATE_DIR, "auth"));
  sock = makeWASocket({ auth });
  sock.ev.process(async (events) => {
    if (events["creds.update"]) await saveCreds();
    const { "creds.update": _, "connection.update": change, ...rest } = events;
    if (change?.qr) qrcode.generate(change.qr, { small: true });
    // Anyone who scans the QR code controls the account, so it is only shown here.
    if (change) rest["connection.update"] = { ...change, qr: undefined };
    if (Object.keys(rest).length) keep(rest);
    if (change?.connection) state = change.connection;
    if (change?.connection === "close") {
      const code = change.lastDisconnect?.error?.output?.statusCode;
      state = code === DisconnectReason.loggedOut ? "logged out" : "connecting";
      if (state === "logged out") console.error("logged out: remove", path.join(STATE_DIR, "auth"), "and start again");
      else setTimeout(start, PAUSE_MS);
    }
  });
}

// Agents' messages.

const socket = io(ROOMCAST_URL, { auth: { token: ROOMCAST_TOKEN } });

function serve() {
  socket.emit("serve", { sessionId: ROOMCAST_SESSION }, (answer) => {
    if (answer.ok) console.error("serving", ROOMCAST_SESSION);
    else if (answer.error.code === "forbidden") console.error("the token does not allow to deliver for", ROOMCAST_SESSION);
    else setTimeout(serve, PAUSE_MS);
  });
}

socket.on("connect", serve); // a new connection serves nothing yet
socket.on("connect_error", (error) => console.error("cannot connect:", error.message));
socket.on("deliver", async (order, acknowledge) => acknowledge(await deliver(order)));
socket.on("typing_out", ({ chatId, action }) => {
  const presence = { typing: "composing", recording: "recording", stopped: "paused" }[action];
  if (state === "open") sock.sendPresenceUpdate(presence, chatId).catch(() => {});
});
socket.on("presence_subscribe", ({ chatId }) => state === "open" && sock.presenceSubscribe(chatId).catch(() => {}));
socket.on("read_out", ({ keys }) => {
  if (state === "open") sock.readMessages(keys).catch(() => {});
});

async function deliver({ chatId, message }) {
  if (state === "logged out") return failed("logged_out", "The account is logged out. Link it again.", false);
  if (state !== "open") return failed("provider_unavailable", "WhatsApp is not connected.", true);
  try {
    if (chatId.endsWith("@s.whatsapp.net") && !known.has(chatId)) {
      const [found] = (await sock.onWhatsApp(chatId)) ?? [];
      if (found && !found.exists) return failed("not_on_whatsapp", "This number is not on WhatsApp.", false);
      known.add(chatId);
    }
    // With Roomcast's id, a repeated message is shown once.
    const options = { messageId: message.messageId, quoted: quoted(chatId, message.replyTo) };
    const sent = await sock.sendMessage(chatId, content(message), options);
    return { ok: true, messageId: sent.key.id };
  } catch (error) {
    return failed("provider_unavailable", String(error?.message ?? error), true);
  }
}

const failed = (code, title, retry) => ({ ok: false, error: { code, title: title.slice(0, 250) }, retry });

function content({ text, media, type }) {
  if (!media) return { text };
  const kind = ["image", "video", "audio"].includes(type) ? type : "document";
  return { [kind]: { url: media.url }, mimetype: media.mimeType, fileName: media.fileName ?? undefined, caption: text ?? undefined };
}

function quoted(chatId, replyTo) {
  if (!replyTo) return undefined;
  const fromMe = replyTo.senderId === ROOMCAST_SESSION;
  const participant = chatId.endsWith("@g.us") && !fromMe ? replyTo.senderId : undefined;
  return { key: { remoteJid: chatId, id: replyTo.messageId, fromMe, participant }, message: { conversation: replyTo.text ?? "" } };
}

void post();
await start();
