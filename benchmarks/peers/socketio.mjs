// Socket.IO on Node: what comes by POST is emitted to every client. Prints its port.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    io.emit("newMessage", Buffer.concat(pieces).toString());
    response.writeHead(202, { "Content-Length": 0 }).end();
  });
});
// The load client answers no pings of Engine.IO, so there are none while it is measured.
const io = new Server(server, { transports: ["websocket"], pingInterval: 3_600_000 });

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => console.log(server.address().port));
