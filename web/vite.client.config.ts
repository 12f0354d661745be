import { defineConfig } from "vite";

/** The client module by itself, for other pages: one file, with types beside it. `npm run build:client`. */
export default defineConfig({
  publicDir: false,
  plugins: [
    {
      name: "types",
      generateBundle() {
        this.emitFile({ type: "asset", fileName: "roomcast.d.ts", source: 'export * from "./index";\n' });
      },
    },
  ],
  build: {
    outDir: "dist-client",
    emptyOutDir: true,
    target: "es2022",
    lib: { entry: "src/client/index.ts", formats: ["es"], fileName: () => "roomcast.js" },
  },
});
