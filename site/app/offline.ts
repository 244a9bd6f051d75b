import { trusted } from "./files.ts";

/** Keeps the site for use without a network. Where that is not possible, it works as before. */
export function offline(): void {
  if (!("serviceWorker" in navigator)) return;
  // A script is in app/, and the worker is for the whole site, of which it stands at the top.
  navigator.serviceWorker.register(trusted(new URL("../sw.js", import.meta.url)), { updateViaCache: "none" }).catch(() => {});
}
