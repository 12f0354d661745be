import { expect, test } from "vitest";

import { parseRoute, routeOf } from "../../src/store/route";
import { readSettings } from "../../src/store/settings";
import { findToken, isAnother, readClaims } from "../../src/store/token";

const encoded = (claims: unknown): string => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;

test("a token is found in a link, a fragment or as it is", () => {
  expect(findToken("http://127.0.0.1:8000/#token=a.b-c.d_e")).toBe("a.b-c.d_e");
  expect(findToken("#token=a.b.c")).toBe("a.b.c");
  expect(findToken("  a.b.c \n")).toBe("a.b.c");
  for (const text of ["", "hello", "a.b", "http://127.0.0.1/", "#token=", "#token=%", "#token=%E0%A4%A", "%"]) expect(findToken(text)).toBeNull();
});

test("claims are read for words only, and nothing in them breaks the page", () => {
  expect(readClaims(encoded({ sub: "u1", name: "Māra 李", sessions: ["*", 1] }))).toEqual({
    name: "Māra 李",
    sub: "u1",
    expiresAt: 0,
    sessions: ["*"],
    scopes: [],
  });
  expect(readClaims(encoded({ sub: "u1" }))).toMatchObject({ name: "u1", sessions: [] });
  for (const token of ["a.b.c", encoded(null), encoded([]), "..", ""]) {
    expect(readClaims(token)).toMatchObject({ name: null, sessions: [] });
  }
});

test("another person's token is told from a new one of the same person, and from one that has run out", () => {
  const [soon, past] = [Date.now() / 1000 + 60, Date.now() / 1000 - 60];
  const [ann, bob] = [encoded({ sub: "ann", exp: soon }), encoded({ sub: "bob", exp: soon })];
  expect(isAnother(bob, ann)).toBe(true);
  expect(isAnother("a.b.c", ann)).toBe(true);
  expect(isAnother(encoded({ sub: "ann", exp: soon + 60 }), ann)).toBe(false);
  expect(isAnother(bob, encoded({ sub: "ann", exp: past }))).toBe(false);
  expect(isAnother(bob, null)).toBe(false);
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
    mediaOrigins: new Set(),
  });
  for (const json of [null, "", "nonsense", "null", "3", '{"reconnectDelayMs": "x", "reconnectJitter": 7}']) {
    expect(readSettings(json)).toEqual(sane);
  }
  const { mediaOrigins } = readSettings('{"mediaOrigins": ["https://Media.example:443", "http://10.0.0.5:9000", 7, "x"]}');
  expect([...mediaOrigins]).toEqual(["https://media.example", "http://10.0.0.5:9000"]);
  expect(readSettings('{"reconnectDelayMs": 50, "socketPath": "/x/"}')).toMatchObject({
    backoff: { delayMs: 50 },
    socketPath: "/x/",
  });
});
