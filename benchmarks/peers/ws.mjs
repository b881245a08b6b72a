// `ws` on Node: what comes by POST goes to every client. Prints its port.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const server = createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces).toString();
    for (const client of sockets.clients) client.send(body);
    response.writeHead(202, { "Content-Length": 0 }).end();
  });
});
const sockets = new WebSocketServer({ server });

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => console.log(server.address().port));
