import { gzipSync } from "node:zlib";

import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** All scripts of the page, as they travel. */
const MOST_SCRIPT_BYTES = 45_000;

function weigh(): Plugin {
  return {
    name: "weigh",
    generateBundle(_, bundle) {
      const scripts = Object.values(bundle).filter((output) => output.type === "chunk");
      const bytes = scripts.reduce((sum, { code }) => sum + gzipSync(code).length, 0);
      const words = `scripts: ${bytes} of ${MOST_SCRIPT_BYTES} bytes gzip`;
      if (bytes > MOST_SCRIPT_BYTES) this.error(words);
      else this.info(words);
    },
  };
}

const server = process.env["ROOMCAST_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [weigh()],
  build: {
    outDir: "../app/static",
    emptyOutDir: true,
    target: "es2022",
    // The page's policy allows no data: scripts or styles, and hashed files are cached for good.
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
