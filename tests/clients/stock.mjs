// The unmodified socket.io-client, driven over standard input and output: one JSON array a line.
//
// In:  ["open", url, auth, options] · ["emit", id, event, ...arguments] · ["transport"] · ["cut"] · ["close"] · ["exit"]
// Out: ["connect", socketId, recovered] · ["disconnect", reason] · ["refused", message, data]
//      ["event", name, ...arguments] · ["answer", id, ...arguments] · ["timeout", id] · ["transport", name]
//
// The option `at` is the port of this machine that stands in for the URL's host and port.
import https from "node:https";
import { createInterface } from "node:readline";
import tls from "node:tls";

const { io } = await import(process.argv[2] ?? "socket.io-client");

let socket;
const say = (...what) => process.stdout.write(JSON.stringify(what) + "\n");

const commands = {
  open(url, auth, { at, ...options }) {
    if (at) {
      options.agent = new https.Agent();
      options.agent.createConnection = (to) => tls.connect({ ...to, host: "127.0.0.1", port: at, ca: options.ca });
    }
    socket = io(url, { auth, forceNew: true, ...options });
    socket.on("connect", () => say("connect", socket.id, socket.recovered === true));
    socket.on("disconnect", (reason) => say("disconnect", reason));
    socket.on("connect_error", (error) => say("refused", error.message, error.data ?? null));
    socket.onAny((name, ...args) => say("event", name, ...args));
  },
  async emit(id, event, ...args) {
    try {
      say("answer", id, await socket.timeout(15_000).emitWithAck(event, ...args));
    } catch {
      say("timeout", id);
    }
  },
  transport() {
    say("transport", socket.io.engine?.transport.name ?? null);
  },
  cut() {
    socket.io.engine.transport.ws?.terminate?.() ?? socket.io.engine.close();
  },
  close() {
    socket.close();
  },
  exit() {
    socket?.close();
    process.exit(0);
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [name, ...args] = JSON.parse(line);
    commands[name](...args);
  })
  .on("close", () => process.exit(0));
