// The stock client, told what to do by lines of JSON on standard input; answers and events are lines of JSON on standard output.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, options] = process.argv.slice(2);
const tell = (...what) => process.stdout.write(JSON.stringify(what) + "\n");
const socket = io(url, { reconnectionDelay: 20, reconnectionDelayMax: 200, ...JSON.parse(options) });

socket.on("connect", () => tell("connect", socket.id));
socket.on("connect_error", (error) => tell("connect_error", error.message, error.data ?? null));
socket.on("disconnect", (reason) => tell("disconnect", reason));
socket.on("question", (number, answer) => answer(number * 2));
socket.onAny((...event) => {
  const plain = event.filter((part) => typeof part !== "function");
  tell("event", ...plain.map((part) => (Buffer.isBuffer(part) ? part.toString("base64") : part)));
});

createInterface({ input: process.stdin }).on("line", async (line) => {
  const [what, ...args] = JSON.parse(line);
  if (what === "ask") tell("answer", ...[await socket.timeout(5000).emitWithAck(...args)]);
  if (what === "emit") socket.emit(...args);
  if (what === "binary") tell("answer", (await socket.timeout(5000).emitWithAck("echo", Buffer.from(args[0]))).toString());
  if (what === "close") socket.close();
});
