// What the bench tells a peer, one JSON object a line on standard input; the end of the input ends the process.
//
// {"emit": {"burst": 10, "rooms": 1, "bytes": 370}}  send so many events a turn of the loop, to random rooms
// {"stop": true}                                      stop, and answer {"sent": events so far}

import { createInterface } from "node:readline";

export function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

/** An event of the contract's shape that fills a Socket.IO packet of `bytes`; its `seq` has ten digits. */
export function sampleOf(bytes) {
  const event = {
    sessionId: "shop",
    chatId: "85291234567@s.whatsapp.net",
    seq: 1_000_000_000,
    message: { messageId: "3EB0C767D097B7C7C0", fromMe: false, type: "text", text: "" },
  };
  const length = '42["new_message",]'.length + JSON.stringify(event).length;
  event.message.text = "x".repeat(bytes - length);
  return event;
}

/**
 * Obey. `emit(room, event)` sends one event to one room, `ready()` tells whether what was sent before is on its way.
 */
export function obey({ emit, ready = () => true }) {
  let load = null;
  let sample = null;
  let sent = 0;

  function turn() {
    if (load === null) return;
    if (ready()) {
      for (let i = 0; i < load.burst; i++) {
        emit(Math.floor(Math.random() * load.rooms), { ...sample, seq: sample.seq + sent });
        sent += 1;
      }
    }
    setImmediate(turn);
  }

  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const order = JSON.parse(line);
    if (order.emit) {
      load = order.emit;
      sample = sampleOf(load.bytes);
      sent = 0;
      turn();
    } else {
      load = null;
      say({ sent });
    }
  });
  lines.on("close", () => process.exit(0));
}
