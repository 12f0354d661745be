import { gzipSync } from "node:zlib";

import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Maximum size of all scripts and styles of the page, compressed. */
const MOST_BYTES = 75_000;

function weigh(): Plugin {
  return {
    name: "weigh",
    generateBundle(_, bundle) {
      const sum = (texts: (string | Uint8Array)[]): number => texts.reduce((all, text) => all + gzipSync(text).length, 0);
      const files = Object.values(bundle);
      const scripts = sum(files.flatMap((file) => (file.type === "chunk" ? [file.code] : [])));
      const styles = sum(files.flatMap((file) => (file.type === "asset" && file.fileName.endsWith(".css") ? [file.source] : [])));
      const words = `scripts ${scripts} and styles ${styles}: ${scripts + styles} of ${MOST_BYTES} bytes gzip`;
      if (scripts + styles > MOST_BYTES) this.error(words);
      else this.info(words);
    },
  };
}

/** The page connects by WebSocket and polling only: the library's third transport would be dead weight. */
function withoutWebTransport(): Plugin {
  return {
    name: "without-webtransport",
    load: (id) => (id.endsWith("/engine.io-client/build/esm/transports/webtransport.js") ? "export class WT {}" : null),
  };
}

const server = process.env["ROOMCAST_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [withoutWebTransport(), weigh()],
  build: {
    outDir: "../app/static",
    emptyOutDir: true,
    target: "es2022",
    // The page's policy allows no data: scripts or styles, and hashed files are cached forever.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/api": server, "/socket.io": { target: server, ws: true } },
  },
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    testTimeout: 15_000,
  },
});
