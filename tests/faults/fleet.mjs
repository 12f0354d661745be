// Many clients in one process, driven over standard input and output: one JSON array a line.
//
//   stock     the unmodified socket.io-client with `recovery: true`; where it is not recovered it loads its lists anew
//   position  the unmodified socket.io-client without it: subscribes again with its position
//   page      the page's client module
//
// In:  ["add", id, kind, url, token, parts, options] · ["expect", {"session\tchat": [count, hash]}] · ["report"]
//      ["reach", number, ids, {"session\tchat": [count, seq]}] · ["mark", number, id, session, chat, seq]
//      ["lists", number, id, session] · ["close"]
// Out: ["ready", id] · ["equal", id] · ["reached", number, id] · ["state", id, name] · ["report", {…}]
//      ["answer", number, error code or null]
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, pageClient] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { io } = require("socket.io-client");
const page = await import(pathToFileURL(pageClient));

const say = (...what) => process.stdout.write(JSON.stringify(what) + "\n");
const clients = new Map();
let expected = new Map();
/** By number: which clients do not have yet what they are to reach, with what that is of each. */
const reaches = new Map();

/** What one client has taken in, as tests/faults/lists.py. */
class Lists {
  messages = new Map();
  chats = new Map();
  last = new Map();
  violations = [];
  taken = 0;
  dirty = true;
  latencies = [];

  constructor(parts) {
    this.whole = new Set(parts.filter(([, chat]) => chat === null).map(([session]) => session));
    this.named = new Set(parts.filter(([, chat]) => chat !== null).map((part) => part.join("\t")));
  }

  owns(session, chat) {
    return this.whole.has(session) || this.named.has(`${session}\t${chat}`);
  }

  take(name, { sessionId, chatId, seq, message, chat }) {
    this.taken += 1;
    this.dirty = true;
    if (!this.owns(sessionId, chatId)) {
      this.violations.push(`not its own: ${sessionId} ${chatId} ${seq}`);
      return;
    }
    const last = this.last.get(sessionId);
    if (last !== undefined && seq <= last) this.violations.push(`again or out of order: ${sessionId} ${seq} after ${last}`);
    if (last !== undefined && this.whole.has(sessionId) && seq > last + 1)
      this.violations.push(`a hole: ${sessionId} ${seq} after ${last}`);
    this.last.set(sessionId, Math.max(seq, last ?? 0));
    const key = `${sessionId}\t${chatId}`;
    if (message) {
      if (!this.messages.has(key)) this.messages.set(key, new Map());
      const mine = this.messages.get(key);
      const known = mine.get(message.messageId);
      // The same number may be there from a list that was loaded; by an event it cannot have come before.
      if (known && known.seq !== message.seq) this.violations.push(`under two numbers: ${key} ${message.messageId}`);
      mine.set(message.messageId, message);
      if (message.text?.startsWith("t=")) {
        this.latencies.push([seq, performance.timeOrigin + performance.now() - Number(message.text.slice(2, 20))]);
      }
    }
    this.chats.set(key, chat);
  }

  load(key, messages, chat) {
    this.dirty = true;
    const mine = this.messages.get(key) ?? new Map();
    for (const message of messages) {
      const known = mine.get(message.messageId);
      if (!known || known.updatedSeq <= message.updatedSeq) mine.set(message.messageId, message);
    }
    this.messages.set(key, new Map([...mine].sort(([, a], [, b]) => a.seq - b.seq)));
    if (chat && !(this.chats.get(key)?.updatedSeq > chat.updatedSeq)) this.chats.set(key, chat);
  }

  digest(key) {
    const hash = createHash("md5");
    const messages = [...(this.messages.get(key)?.values() ?? [])];
    for (const m of messages) hash.update(`${m.seq}\t${m.messageId}\t${m.text}\t${m.status}\t${m.updatedSeq}\n`);
    const c = this.chats.get(key);
    if (c) hash.update(`${c.lastSeq}\t${c.readSeq}\t${c.unreadCount}\t${c.updatedSeq}\n`);
    return [messages.length, hash.digest("hex")];
  }

  /** Whether so many messages of each chat are there up to a number: later ones do not make good for them. */
  has(stored) {
    return stored.every(([key, [count, seq]]) => {
      const mine = this.messages.get(key);
      if ((mine?.size ?? 0) < count) return false;
      let found = 0;
      for (const message of mine.values()) found += message.seq <= seq;
      return found >= count;
    });
  }

  /** What differs from what is expected of this client; empty when all is right. */
  differences() {
    const mine = [...expected].filter(([key]) => this.owns(...key.split("\t")));
    // A look at the counts first: this is asked often, and hashes are dear.
    const wrong = mine
      .filter(([key, [count]]) => (this.messages.get(key)?.size ?? 0) !== count)
      .map(([key, [count]]) => `${key}: ${this.messages.get(key)?.size ?? 0} of ${count}`);
    if (wrong.length) return wrong;
    for (const [key, [count, hash]] of mine) if (this.digest(key)[1] !== hash) wrong.push(`${key}: ${count} messages, but others`);
    for (const key of this.messages.keys()) if (!expected.has(key)) wrong.push(`${key}: of no such chat`);
    return wrong;
  }
}

class Client {
  ready = false;
  equal = false;
  connects = 0;
  recoveries = 0;
  resets = 0;
  loading = 0;

  constructor(id, url, token, parts, options) {
    Object.assign(this, { id, url, token, parts, options });
    this.lists = new Lists(parts);
    this.api = new page.RoomcastApi({ url, token: () => token, timeoutMs: 8_000 });
  }

  sessions() {
    return [...new Set(this.parts.map(([session]) => session))];
  }

  /** All lists of a session, from REST, however often it takes. */
  async load(session) {
    this.resets += 1;
    this.loading += 1;
    for (;;) {
      try {
        const chats = new Map();
        let cursor;
        do {
          const answer = await this.api.chats(session, { limit: 200, cursor });
          for (const chat of answer.data) chats.set(chat.chatId, chat);
          cursor = answer.nextCursor ?? undefined;
        } while (cursor);
        for (const [chatId, chat] of chats) {
          if (!this.lists.owns(session, chatId)) continue;
          let [after, more] = [0, true];
          while (more) {
            const answer = await this.api.messages(session, chatId, { after, limit: 200 });
            // The chat as it was with its list: of messages that came since, the events tell.
            this.lists.load(`${session}\t${chatId}`, answer.data, chat);
            after = answer.data.at(-1)?.seq ?? after;
            more = answer.hasMore;
          }
        }
        break;
      } catch (error) {
        if (this.closed) break;
        await new Promise((resolve) => setTimeout(resolve, Math.min(error.retryAfterMs ?? 300, 1000)));
      }
    }
    this.loading -= 1;
    this.lists.dirty = true;
  }

  /** For whoever must find out why it is not right. */
  condition() {
    const { connects, recoveries, resets } = this;
    const last = Object.fromEntries(this.lists.last);
    return JSON.stringify({ url: this.url, parts: this.parts, connects, recoveries, resets, last, ...this.connection() });
  }

  isReady() {
    if (!this.ready) say("ready", this.id);
    this.ready = true;
  }
}

class Stock extends Client {
  start() {
    const auth = { token: this.token, ...(this.recovery && { recovery: true }) };
    this.socket = io(this.url, { auth, forceNew: true, transports: ["websocket"], ...this.options });
    this.socket.on("connect", () => this.connected());
    this.socket.on("connect_error", (error) => (this.refusal = error.message));
    for (const name of ["new_message", "message_updated", "chat_updated"])
      this.socket.on(name, (data) => this.restarting?.has(data.sessionId) || this.lists.take(name, data));
    this.socket.on("position", ({ sessionId, position }) => this.positioned(sessionId, position));
  }

  positioned() {}

  connection() {
    const { connected, active, id, recovered, _pid: pid, _lastOffset: offset } = this.socket;
    return { connected, active, id, recovered, pid, offset, refusal: this.refusal, held: [...(this.held ?? [])] };
  }

  close() {
    this.closed = true;
    this.socket.disconnect();
  }

  /** Asks until there is an answer or another connection; calls back in the turn in which the answer is read. */
  ask(event, payload, done) {
    const [socket, sid] = [this.socket, this.socket.id];
    socket.timeout(8_000).emit(event, payload, (error, answer) => {
      if (socket.id !== sid || this.closed) return;
      if (!error && answer.ok) done(answer.data);
      else if (!error && answer.error.code === "forbidden") this.lists.violations.push(`forbidden: ${JSON.stringify(payload)}`);
      else setTimeout(() => socket.id === sid && this.ask(event, payload, done), 300);
    });
  }
}

/** Lets Socket.IO bring it back; what it cannot bring back it loads. */
class Recovering extends Stock {
  recovery = true;
  held = new Set();

  connected() {
    this.connects += 1;
    if (this.socket.recovered) this.recoveries += 1;
    else {
      this.held.clear();
      for (const session of this.sessions()) this.lists.last.delete(session);
    }
    for (const [sessionId, chat] of this.parts) {
      const part = `${sessionId}\t${chat}`;
      if (this.held.has(part)) continue;
      this.ask("subscribe", { sessionId, ...(chat !== null && { chatId: chat }) }, ({ position }) => {
        this.held.add(part);
        if (this.lists.whole.has(sessionId)) this.lists.last.set(sessionId, position.seq);
        if (this.parts.every(([s, c]) => s !== sessionId || this.held.has(`${s}\t${c}`)))
          this.load(sessionId).then(() => this.held.size === this.parts.length && this.isReady());
      });
    }
  }
}

/** Subscribes again with its position. */
class Positioned extends Stock {
  restarting = new Set();
  positions = new Map();

  connected() {
    this.connects += 1;
    for (const session of this.sessions()) {
      if (this.positions.has(session)) this.restarting.add(session);
      this.subscribe(session, this.parts.filter(([one]) => one === session));
    }
  }

  subscribe(sessionId, parts) {
    const [[, chat], ...rest] = parts;
    const epoch = this.positions.get(sessionId);
    const again = rest.length === 0 && epoch !== undefined;
    const position = again ? { epoch, seq: this.lists.last.get(sessionId) } : undefined;
    this.ask("subscribe", { sessionId, ...(chat !== null && { chatId: chat }), ...(position && { position }) }, (answer) => {
      if (rest.length) {
        if (epoch === undefined && !this.lists.last.has(sessionId)) this.lists.last.set(sessionId, answer.position.seq);
        this.subscribe(sessionId, rest);
        return;
      }
      this.restarting.delete(sessionId);
      if (again && answer.recovered) this.recoveries += 1;
      else {
        // While it was away something may have come for the parts that were first: the events go on from here.
        if (again || !this.lists.last.has(sessionId)) this.lists.last.set(sessionId, answer.position.seq);
        this.positions.set(sessionId, answer.position.epoch);
        this.load(sessionId).then(() => this.positions.size === this.sessions().length && this.isReady());
      }
    });
  }

  positioned(sessionId, { seq }) {
    if (!this.restarting.has(sessionId) && this.lists.last.get(sessionId) < seq) this.lists.last.set(sessionId, seq);
  }
}

/** The page's states with a connection. */
const LINKED = new Set(["connected", "catching_up", "unavailable"]);

class Page extends Client {
  states = [];

  connection() {
    return { states: this.states.slice(-10) };
  }

  start() {
    this.client = new page.RoomcastClient({ url: this.url, token: this.token, ...this.options });
    this.client.on("event", ({ event, ...data }) => this.lists.take(event, data));
    this.client.on("state", ({ name }) => {
      if (LINKED.has(name) && !LINKED.has(this.states.at(-1))) this.connects += 1;
      this.states.push(name);
      say("state", this.id, name);
    });
    this.client.on("reset", ({ sessionId, position }) => {
      this.lists.last.set(sessionId, position.seq);
      this.load(sessionId);
    });
    this.client.on("lost", ({ sessionId, chatId }) => this.lists.violations.push(`lost: ${sessionId} ${chatId}`));
    this.client.connect();
    const all = this.sessions().map(async (session) => {
      const chats = this.parts.filter(([one]) => one === session).map(([, chat]) => chat ?? undefined);
      await Promise.all(chats.map((chat) => this.client.subscribe(session, chat)));
      await this.load(session);
    });
    Promise.all(all).then(
      () => this.isReady(),
      (error) => this.closed || this.lists.violations.push(`not subscribed: ${error}`),
    );
  }

  close() {
    this.closed = true;
    this.client.close();
  }
}

const KINDS = { stock: Recovering, position: Positioned, page: Page };

// Differences are looked for when something came, and not more often than this.
setInterval(() => {
  for (const client of clients.values()) {
    if (!client.lists.dirty || client.loading || !expected.size) continue;
    client.lists.dirty = false;
    const equal = client.lists.differences().length === 0;
    if (equal && !client.equal) say("equal", client.id);
    client.equal = equal;
  }
  for (const [number, waiting] of reaches) {
    for (const [id, stored] of waiting) {
      if (!clients.get(id).lists.has(stored)) continue;
      waiting.delete(id);
      say("reached", number, id);
    }
    if (!waiting.size) reaches.delete(number);
  }
}, 20);

const commands = {
  add(id, kind, url, token, parts, options) {
    const client = new KINDS[kind](id, url, token, parts, options);
    clients.set(id, client);
    client.start();
  },
  expect(lists) {
    expected = new Map(Object.entries(lists));
    for (const client of clients.values()) {
      client.lists.dirty = true;
      client.equal = false;
    }
  },
  reach(number, ids, stored) {
    const own = ({ lists }) => Object.entries(stored).filter(([key]) => lists.owns(...key.split("\t")));
    reaches.set(number, new Map(ids.map((id) => [id, own(clients.get(id))])));
  },
  async mark(number, id, session, chat, seq) {
    await clients.get(id).client.markRead(session, chat, seq).then(
      () => say("answer", number, null),
      (error) => say("answer", number, error.code),
    );
  },
  async lists(number, id, session) {
    await clients.get(id).api.chats(session).then(
      () => say("answer", number, null),
      (error) => say("answer", number, error.code),
    );
  },
  report() {
    const report = {};
    for (const [id, client] of clients) {
      const differences = client.loading ? ["still loading"] : client.lists.differences();
      if (differences.length) differences.push(client.condition());
      report[id] = {
        violations: client.lists.violations.slice(0, 5),
        differences,
        taken: client.lists.taken,
        connects: client.connects,
        recoveries: client.recoveries,
        resets: client.resets,
        latencies: client.lists.latencies,
        states: client.states ?? [],
      };
    }
    say("report", report);
  },
  close() {
    for (const client of clients.values()) client.close();
    clients.clear();
    reaches.clear();
    say("closed");
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [name, ...args] = JSON.parse(line);
  commands[name](...args);
});
lines.on("close", () => process.exit(0));
