import { RoomcastError } from "./errors.js";

export type Transport = "websocket" | "polling";

/** What a browser or worker must have for each transport; the Socket.IO client for Node has its own. */
const NEEDS = { websocket: "WebSocket", polling: "XMLHttpRequest" } as const;

/** Throws `unsupported` if none of these transports can work, instead of trying forever. */
export function checkTransports(transports: readonly Transport[], scope: object = globalThis): void {
  // The file built for browsers has no Node transports, and is built without this line.
  if ((globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node) return;
  const missing = transports.map((transport) => NEEDS[transport]).filter((name) => !(name in scope));
  if (missing.length < transports.length) return;
  throw new RoomcastError(
    "unsupported",
    `${missing.join(" and ")} missing: this file is for browsers and workers. In Node install the package roomcast-client.`,
  );
}
