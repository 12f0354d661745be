export { RoomcastApi, type ApiOptions } from "./api";
export { Backoff, DEFAULT_BACKOFF, type BackoffOptions } from "./backoff";
export { RoomcastClient, type ClientEvents, type ClientOptions, type ClientState } from "./client";
export { detectEnvironment, type Environment, type Sign } from "./environment";
export { hasCode, RoomcastError, type ErrorCode } from "./errors";
export type * from "./types";
