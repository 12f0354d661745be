export { RoomcastApi, type ApiOptions } from "./api.js";
export { Backoff, DEFAULT_BACKOFF, type BackoffOptions } from "./backoff.js";
export { RoomcastClient } from "./client.js";
export { detectEnvironment, type Environment, type Sign } from "./environment.js";
export { hasCode, RoomcastError, type ErrorCode, type ErrorDetails } from "./errors.js";
export type { ClientEvents, ClientOptions, ClientState } from "./options.js";
export type { Transport } from "./runtime.js";
export type * from "./types.js";
