// A worker of the pool: see pool.ts. Where there is no worker, as on a server, it does nothing.

import { serve } from "./server.ts";

if ("addEventListener" in globalThis) {
  serve(
    (receive) => addEventListener("message", (event) => receive(event.data)),
    (message, transfer) => postMessage(message, { transfer }),
  );
}
