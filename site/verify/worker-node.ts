// A worker of the pool, in Node: see pool.ts.

import { parentPort } from "node:worker_threads";
import { serve } from "./server.ts";

serve(
  (receive) => parentPort!.on("message", receive),
  (message, transfer) => parentPort!.postMessage(message, transfer),
);
