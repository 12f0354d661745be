import { RoomcastError } from "./errors.js";

export type Transport = "websocket" | "polling";

/** What a browser, or a worker, has to have for each; the Socket.IO client for Node brings its own. */
const NEEDS = { websocket: "WebSocket", polling: "XMLHttpRequest" } as const;

/** Raises `unsupported` where none of these transports can work, instead of trying for ever. */
export function checkTransports(transports: readonly Transport[], scope: object = globalThis): void {
  // The file that is built for browsers alone has no Node transports, and is built without this line.
  if ((globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node) return;
  const missing = transports.map((transport) => NEEDS[transport]).filter((name) => !(name in scope));
  if (missing.length < transports.length) return;
  throw new RoomcastError(
    "unsupported",
    `${missing.join(" and ")} missing: this file is for browsers and workers. In Node install the package roomcast-client.`,
  );
}
