// A stand-in for Baileys: it says each call as a line of JSON, and does what lines on standard input tell.
// {"emit": {…}}: events come. {"absent": [jid, …]}: people who are not on WhatsApp. {"echo": true}: what is sent comes
// back as an event before the call returns.
import { createInterface } from "node:readline";

export const DisconnectReason = { loggedOut: 401 };
export const BufferJSON = { replacer: (key, value) => value };
export const useMultiFileAuthState = async () => ({ state: {}, saveCreds: async () => say({ saved: true }) });

const say = (words) => console.log(JSON.stringify(words));
let handler = () => {};
let absent = [];
let echo = false;

createInterface({ input: process.stdin }).on("line", async (line) => {
  const told = JSON.parse(line);
  if (told.absent) absent = told.absent;
  if ("echo" in told) echo = told.echo;
  if (told.emit) await handler(told.emit);
});

export default function makeWASocket() {
  setTimeout(() => handler({ "connection.update": { connection: "open" } }), 10);
  return {
    ev: { process: (given) => (handler = given) },
    onWhatsApp: async (jid) => [{ jid, exists: !absent.includes(jid) }],
    sendPresenceUpdate: async (...args) => say({ sendPresenceUpdate: args }),
    readMessages: async (...args) => say({ readMessages: args }),
    sendMessage: async (jid, content, options) => {
      say({ sendMessage: [jid, content, options] });
      const key = { remoteJid: jid, id: options.messageId, fromMe: true };
      if (echo) {
        const message = { key, message: { conversation: content.text }, messageTimestamp: 1770379440 };
        await handler({ "messages.upsert": { type: "append", messages: [message] } });
      }
      return { key };
    },
  };
}
