import { randomUUID } from "node:crypto";

import { describe, expect, test } from "vitest";

import { RoomcastApi, RoomcastClient, type DurableEvent } from "../../src/client";
import { FakeEnvironment } from "../support/environment";
import { until } from "../support/wait";

/**
 * The client against a server that runs: its address, a token with `read` and `write` and one with `ingest`,
 * both for any session. Without them these tests are left out.
 */
const { ROOMCAST_URL: url = "", ROOMCAST_TOKEN: token = "", ROOMCAST_INGEST_TOKEN: ingest = "" } = process.env;

describe.skipIf(!url || !token || !ingest)("with the real server", () => {
  const chatId = "85291234567@s.whatsapp.net";

  async function post(sessionId: string, ...texts: string[]): Promise<void> {
    const response = await fetch(`${url}/webhook/${sessionId}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${ingest}`, "Content-Type": "application/json" },
      body: JSON.stringify({ messages: texts.map((text) => ({ chatId, text, messageId: randomUUID() })) }),
    });
    expect(response.status).toBe(200);
  }

  test.each([["websocket"], ["polling"]] as const)("list, follow, read, recover over %s", async (transport) => {
    const sessionId = `test-${randomUUID()}`;
    const api = new RoomcastApi({ url, token: () => token });
    const environment = new FakeEnvironment();
    const client = new RoomcastClient({ url, token, transports: [transport], environment });
    const events: DurableEvent[] = [];
    client.on("event", (event) => events.push(event));
    try {
      client.connect();
      await post(sessionId, "one", "two");
      const page = await api.chats(sessionId);
      expect(page.data).toMatchObject([{ chatId, unreadCount: 2, lastSeq: 2 }]);
      await post(sessionId, "three");
      const answer = await client.subscribe(sessionId, undefined, page.position);
      expect(answer.recovered).toBe(true);
      await until("the third", () => events.length === 1);
      await post(sessionId, "four");
      await until("the fourth", () => events.length === 2);
      const chat = await client.markRead(sessionId, chatId, 4);
      expect(chat).toMatchObject({ unreadCount: 0, readSeq: 4 });
      await until("read", () => events.at(-1)?.event === "chat_updated");
      expect(events.map(({ seq }) => seq)).toEqual([3, 4, 5]);
      expect(client.state.name).toBe("connected");
      const { data } = await api.messages(sessionId, chatId, { limit: 2 });
      expect(data.map(({ text }) => text)).toEqual(["three", "four"]);
      await expect(client.subscribe("not/allowed")).rejects.toMatchObject({ code: "invalid" });
      await client.authenticate(token);
    } finally {
      client.close();
    }
  });

  test("a bad token is unauthorized, by socket and by list", async () => {
    const client = new RoomcastClient({ url, token: "a.b.c", environment: new FakeEnvironment() });
    client.connect();
    await until("unauthorized", () => client.state.name === "unauthorized");
    client.close();
    const api = new RoomcastApi({ url, token: () => "a.b.c" });
    await expect(api.sessions()).rejects.toMatchObject({ code: "unauthorized" });
  });
});
