"use strict";

// Connects a page to the hub of this app, and never gives up. The service serves the official
// client itself; where it does not, as on Azure, a public CDN does.
const CDN = "https://cdn.jsdelivr.net/npm/@microsoft/signalr@10/dist/browser/signalr.min.js";

async function connect(handlers, { query = "", onState = () => {} } = {}) {
  const api = new URL(".", location.href);
  for (;;) {
    try {
      await loadClient(api, query);
      const connection = new signalR.HubConnectionBuilder()
        .withUrl(`${api.href}${query}`)
        .withAutomaticReconnect()
        .build();
      for (const [target, handler] of Object.entries(handlers)) connection.on(target, handler);
      connection.onreconnecting(() => onState("reconnecting"));
      connection.onreconnected(() => onState("connected"));
      connection.onclose(() => connect(handlers, { query, onState }));
      await connection.start();
      onState("connected", connection);
      return connection;
    } catch (error) {
      console.warn(error.message);
      onState("not connected, trying again");
      await new Promise((resolve) => setTimeout(resolve, 1000 + 1000 * Math.random()));
    }
  }
}

async function loadClient(api, query) {
  if (window.signalR) return;
  const response = await fetch(new URL(`negotiate${query}`, api), { method: "POST" });
  if (!response.ok) throw new Error(`negotiate answered ${response.status}; the app's log says why`);
  const service = new URL((await response.json()).url).origin;
  await loadScript(`${service}/scripts/signalr.js`).catch(() => loadScript(CDN));
}

function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src });
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} cannot be loaded`));
    document.head.append(script);
  });
}
