export { RoomcastApi, type ApiOptions } from "./api.js";
export { Backoff, DEFAULT_BACKOFF, type BackoffOptions } from "./backoff.js";
export { RoomcastClient, type ClientEvents, type ClientOptions, type ClientState } from "./client.js";
export { detectEnvironment, type Environment, type Sign } from "./environment.js";
export { hasCode, RoomcastError, type ErrorCode } from "./errors.js";
export type { Transport } from "./runtime.js";
export type * from "./types.js";
