// An inbox without a framework: the chats of one session and one open chat, updated live.
//
//   cd web && npm run build:client        builds the module that is imported here
//   python3 -m http.server 8000           in the repository's root
//   http://127.0.0.1:8000/examples/plain/?server=http://127.0.0.1:8080&session=shop#token=…
//
// The server must allow this page's origin: ALLOWED_ORIGINS=http://127.0.0.1:8000
import { RoomcastApi, RoomcastClient } from "../../web/dist-client/roomcast.js";

const query = new URLSearchParams(location.search);
const url = query.get("server") ?? location.origin;
const sessionId = query.get("session") ?? "shop";
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
history.replaceState(null, "", location.pathname + location.search);

const api = new RoomcastApi({ url, token: () => client.token });
const client = new RoomcastClient({ url, token });

/** The state: chats and the messages of the open one, by their ids. */
const chats = new Map();
let messages = new Map();
let opened = null;

// 1. Load the list and its position. The position is read before the list, so the events after it, applied where they
//    are not older than the list's data, give the present state.
async function load() {
  const page = await api.chats(sessionId, { limit: 200 });
  chats.clear();
  page.data.forEach(putChat);
  if (opened) await open(opened);
  draw();
  return page.position;
}

function putChat(chat) {
  const known = chats.get(chat.chatId);
  if (!known || chat.updatedSeq >= known.updatedSeq) chats.set(chat.chatId, chat);
}

function putMessage(message) {
  const known = messages.get(message.messageId);
  if (!known || message.updatedSeq >= known.updatedSeq) messages.set(message.messageId, message);
}

// 2. Handle events. The client delivers each event once and in order, across reconnects.
client.on("event", (event) => {
  putChat(event.chat);
  if (event.event === "chat_merged") {
    chats.delete(event.from); // it was merged into the event's chat
    if ([event.from, event.chatId].includes(opened)) void open(event.chatId);
  }
  if (event.message && event.chatId === opened) putMessage(event.message);
  if (event.event === "new_message" && event.chatId === opened) read(event.chat);
  draw();
});

// 3. Missed events cannot be replayed: load everything again. Events continue by themselves.
client.on("reset", () => void load());

client.on("state", (state) => {
  const seconds = state.retryAt ? `, next try in ${Math.ceil((state.retryAt - Date.now()) / 1000)} s` : "";
  document.getElementById("state").textContent = state.name.replace("_", " ") + seconds;
});

async function open(chatId) {
  opened = chatId;
  messages = new Map();
  const page = await api.messages(sessionId, chatId, { limit: 50 });
  if (opened !== chatId) return; // another chat was opened meanwhile
  page.data.forEach(putMessage);
  await read(chats.get(chatId));
  draw();
}

async function read(chat) {
  if (chat.unreadCount > 0) putChat(await client.markRead(sessionId, chat.chatId, chat.lastSeq));
}

// 4. Render. Set message texts only as text, never as HTML.
function draw() {
  const ordered = [...chats.values()].sort((a, b) => b.lastSeq - a.lastSeq);
  document.getElementById("chats").replaceChildren(
    ...ordered.map((chat) => {
      const button = document.createElement("button");
      const unread = chat.unreadCount > 0 ? ` (${chat.unreadCount})` : "";
      button.textContent = `${chat.name ?? chat.chatId}${unread}: ${chat.lastMessage?.text ?? ""}`;
      button.toggleAttribute("aria-current", chat.chatId === opened);
      button.onclick = () => void open(chat.chatId);
      return element("li", button);
    }),
  );
  const shown = [...messages.values()].sort((a, b) => a.seq - b.seq);
  document.getElementById("messages").replaceChildren(
    ...shown.map((message) => {
      const who = message.fromMe ? "You" : (message.sender.name ?? message.sender.id);
      return element("li", `${who}: ${message.text ?? message.type}`);
    }),
  );
}

function element(name, content) {
  const made = document.createElement(name);
  made.append(content);
  return made;
}

client.connect();
client.subscribe(sessionId, undefined, await load());
