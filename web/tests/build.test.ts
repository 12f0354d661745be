import { expect, test, vi } from "vitest";
import { build } from "vite";

// The build itself fails where the scripts are too heavy: see `weigh` in vite.config.ts.
test("the page builds, light enough, and needs nothing that its policy forbids", async () => {
  vi.stubEnv("NODE_ENV", "production"); // as it is built to be served
  const result = await build({ logLevel: "silent", build: { write: false } });
  if (!("output" in result)) throw new Error("not one build");
  const text = (name: RegExp): string =>
    result.output
      .filter(({ fileName }) => name.test(fileName))
      .map((file) => (file.type === "chunk" ? file.code : String(file.source)))
      .join("\n");
  const html = text(/\.html$/);
  expect(html).toContain('<meta name="roomcast" content="{}" />');
  expect(html.match(/<script(?![^>]*\ssrc=)/)).toBeNull();
  expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|https?:/);
  expect(text(/\.css$/)).not.toMatch(/url\(|@import/);
  expect(text(/\.js$/)).not.toMatch(/\beval\(|innerHTML\s*=(?!=)(?!\w*\.__html)/);
});
