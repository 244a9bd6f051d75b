// A worker of the pool, in Node: see pool.ts. On the main thread it does nothing.

import { parentPort } from "node:worker_threads";
import { serve } from "./server.ts";

if (parentPort) {
  const port = parentPort;
  serve(
    (receive) => port.on("message", receive),
    (message, transfer) => port.postMessage(message, transfer),
  );
}
