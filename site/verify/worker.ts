// A worker of the pool: see pool.ts.

import { serve } from "./server.ts";

serve(
  (receive) => addEventListener("message", (event) => receive(event.data)),
  (message, transfer) => postMessage(message, { transfer }),
);
