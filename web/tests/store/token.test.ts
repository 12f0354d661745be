import { expect, test } from "vitest";

import { parseRoute, routeOf } from "../../src/store/route";
import { readSettings } from "../../src/store/settings";
import { findToken, readClaims } from "../../src/store/token";

const encoded = (claims: unknown): string => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;

test("a token is found in a link, a fragment or as it is", () => {
  expect(findToken("http://127.0.0.1:8000/#token=a.b-c.d_e")).toBe("a.b-c.d_e");
  expect(findToken("#token=a.b.c")).toBe("a.b.c");
  expect(findToken("  a.b.c \n")).toBe("a.b.c");
  for (const text of ["", "hello", "a.b", "http://127.0.0.1/", "#token="]) expect(findToken(text)).toBeNull();
});

test("claims are read for words only, and nothing in them breaks the page", () => {
  expect(readClaims(encoded({ sub: "u1", name: "Māra 李", sessions: ["*", 1] }))).toEqual({
    name: "Māra 李",
    sub: "u1",
    expiresAt: 0,
    sessions: ["*"],
  });
  expect(readClaims(encoded({ sub: "u1" }))).toMatchObject({ name: "u1", sessions: [] });
  for (const token of ["a.b.c", encoded(null), encoded([]), "..", ""]) {
    expect(readClaims(token)).toMatchObject({ name: null, sessions: [] });
  }
});

test("a route comes back as it went, whatever is in a chat's id", () => {
  const address = { sessionId: "shop:1@x", chatId: "1/2?#%&é@g.us" };
  expect(parseRoute(routeOf(address))).toEqual(address);
  for (const hash of ["", "#", "#/a", "#/a/b/c", "#token=a.b.c", "#/a/%"]) expect(parseRoute(hash)).toBeNull();
});

test("settings of the server are taken, and sane without", () => {
  const sane = readSettings("{}");
  expect(sane).toEqual({
    backoff: { delayMs: 500, delayMaxMs: 5000, jitter: 0.5 },
    socketPath: "/socket.io/",
    version: "",
  });
  for (const json of [null, "", "nonsense", "null", "3", '{"reconnectDelayMs": "x", "reconnectJitter": 7}']) {
    expect(readSettings(json)).toEqual(sane);
  }
  expect(readSettings('{"reconnectDelayMs": 50, "socketPath": "/x/"}')).toMatchObject({
    backoff: { delayMs: 50 },
    socketPath: "/x/",
  });
});
