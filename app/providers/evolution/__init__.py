"""Evolution API, version 2: Baileys behind HTTP."""
