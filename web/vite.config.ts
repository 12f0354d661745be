import { defineConfig } from "vitest/config";

const server = process.env["ROOMCAST_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig({
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
