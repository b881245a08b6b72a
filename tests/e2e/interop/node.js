// @microsoft/signalr under Node: commands by standard input, events by standard output.
"use strict";

const readline = require("node:readline");
const signalR = require("@microsoft/signalr");
const msgpack = require("@microsoft/signalr-protocol-msgpack");
const { createClient } = require("./client.js");

const take = createClient(signalR, msgpack, (event) => {
  process.stdout.write(JSON.stringify(event) + "\n");
});
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => take(JSON.parse(line)))
  .on("close", () => process.exit(0));
