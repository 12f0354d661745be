import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, beforeEach, expect, test } from "vitest";

import { RoomcastApi } from "../../src/client";

type Reply = { status: number; headers?: Record<string, string>; body?: string } | null;

let server: Server;
let reply: Reply;
let asked: { url: string; authorization: string | undefined }[];
let bodies: string[];
let api: RoomcastApi;

beforeEach(async () => {
  [asked, bodies] = [[], []];
  server = createServer((request, response) => {
    asked.push({ url: request.url ?? "", authorization: request.headers.authorization });
    request.on("data", (data: Buffer) => bodies.push(`${request.method} ${data}`));
    if (reply) response.writeHead(reply.status, reply.headers).end(reply.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  api = new RoomcastApi({ url: `http://127.0.0.1:${port}`, token: () => "secret", timeoutMs: 1_000 });
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test("names go into the path as they are, the token into the header", async () => {
  reply = { status: 200, body: '{"ok": true, "data": [], "hasMore": false}' };
  await api.messages("a", "1/2?@g.us", { limit: 50, before: 7 });
  await api.chats("a", { cursor: "x=&" });
  expect(asked).toEqual([
    { url: "/api/v1/sessions/a/chats/1%2F2%3F%40g.us/messages?limit=50&before=7", authorization: "Bearer secret" },
    { url: "/api/v1/sessions/a/chats?cursor=x%3D%26", authorization: "Bearer secret" },
  ]);
});

test("a problem is an error with its code", async () => {
  reply = {
    status: 503,
    headers: { "Content-Type": "application/problem+json", "Retry-After": "2" },
    body: '{"code": "unavailable", "detail": "later, please"}',
  };
  await expect(api.sessions()).rejects.toMatchObject({ code: "unavailable", message: "later, please", retryAfterMs: 2000 });
});

test.each([
  [401, "unauthorized"],
  [429, "rate_limited"],
  [502, "unavailable"],
])("an answer %i of something in between is %s", async (status, code) => {
  reply = { status, headers: { "Content-Type": "text/html" }, body: "<h1>sorry</h1>" };
  await expect(api.sessions()).rejects.toMatchObject({ code });
});

test("no answer in time, given up by the caller, no server: told apart", async () => {
  reply = null;
  await expect(api.sessions()).rejects.toMatchObject({ code: "timeout" });
  await expect(api.sessions({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  const nowhere = new RoomcastApi({ url: "http://127.0.0.1:9", token: () => "" });
  await expect(nowhere.sessions()).rejects.toMatchObject({ code: "unreachable" });
});

test("a message and quick replies are sent as JSON; a conflict has its details", async () => {
  const replies = [{ shortcut: "hi", text: "Hello {name}" }];
  reply = { status: 200, body: JSON.stringify({ ok: true, data: replies }) };
  expect(await api.putQuickReplies("a", replies)).toEqual(replies);
  expect(await api.quickReplies("a")).toEqual(replies);
  reply = {
    status: 409,
    headers: { "Content-Type": "application/problem+json" },
    body: '{"code": "conflict", "detail": "no", "details": {"message": {"seq": 9}}}',
  };
  const sent = api.sendMessage("a", "x/y", { clientId: "c", text: "yes" });
  await expect(sent).rejects.toMatchObject({ code: "conflict", details: { message: { seq: 9 } } });
  expect(bodies).toEqual([`PUT ${JSON.stringify(replies)}`, 'POST {"clientId":"c","text":"yes"}']);
  expect(asked.map(({ url }) => url)).toEqual([
    "/api/v1/sessions/a/quick-replies",
    "/api/v1/sessions/a/quick-replies",
    "/api/v1/sessions/a/chats/x%2Fy/messages",
  ]);
});
