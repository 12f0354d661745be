// The page's client module as one file for Node. The stock socket.io-client is left to be found beside it.
import { createRequire } from "node:module";

const [web, target] = process.argv.slice(2);
const require = createRequire(`${web}/package.json`);
const { rolldown } = await import(require.resolve("rolldown"));
const bundle = await rolldown({ input: `${web}/src/client/index.ts`, external: ["socket.io-client"], platform: "node" });
await bundle.write({ file: target, format: "esm" });
await bundle.close();
