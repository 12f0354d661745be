import { readFileSync } from "node:fs";

import { defineConfig, type Plugin } from "vite";

const { version, license, engines, dependencies } = JSON.parse(readFileSync("package.json", "utf8"));

/** The files that `npm pack` needs in addition to the code. */
const manifest = {
  name: "roomcast-client",
  version,
  description: "Follows sessions of a Roomcast server over connections that come and go.",
  license,
  type: "module",
  sideEffects: false,
  engines,
  exports: {
    ".": { types: "./index.d.ts", default: "./index.js" },
    "./standalone": { types: "./index.d.ts", default: "./roomcast.js" },
    "./package.json": "./package.json",
  },
  types: "./index.d.ts",
  dependencies: { "socket.io-client": `^${dependencies["socket.io-client"]}` },
};

const pack: Plugin = {
  name: "pack",
  generateBundle() {
    const file = (fileName: string, source: string): string => this.emitFile({ type: "asset", fileName, source });
    file("package.json", `${JSON.stringify(manifest, null, 2)}\n`);
    file("LICENSE", readFileSync("../LICENSE", "utf8"));
    file("README.md", readFileSync("src/client/README.md", "utf8"));
    // For users of the single file with its types.
    file("roomcast.d.ts", 'export * from "./index.js";\n');
  },
};

/**
 * The client module as the package `roomcast-client`: `npm run build:client`. `index.js` imports the Socket.IO client
 * as a dependency, because Node and browsers have different builds of it. `--mode standalone` builds `roomcast.js`, for
 * pages without a bundler, with all dependencies for browsers and workers.
 */
export default defineConfig(({ mode }) => {
  const standalone = mode === "standalone";
  return {
    publicDir: false,
    plugins: standalone ? [] : [pack],
    ...(standalone && { define: { "globalThis.process": "undefined" } }),
    build: {
      outDir: "dist-client",
      emptyOutDir: !standalone,
      target: "es2022",
      lib: { entry: "src/client/index.ts", formats: ["es"], fileName: () => (standalone ? "roomcast.js" : "index.js") },
      rollupOptions: { external: standalone ? [] : ["socket.io-client"] },
    },
  };
});
