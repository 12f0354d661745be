// ws on Node: no rooms, no acknowledgements, one loop over all clients.

import { WebSocketServer } from "ws";
import { obey, say } from "./control.mjs";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 1024, perMessageDeflate: false });

obey({
  emit: (_room, event) => {
    const data = `42${JSON.stringify(["new_message", event])}`;
    for (const client of server.clients) client.send(data);
  },
  ready: () => {
    for (const client of server.clients) return client.bufferedAmount < 65_536;
    return true;
  },
});
server.on("listening", () => say({ listening: server.address().port }));
