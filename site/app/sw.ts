// The service worker: it keeps the site's files, all of one build, for a visitor without a
// network. With one, the server is asked first, so that a mended verifier reaches everybody.
// It touches nothing but the site's own files.

import { hex } from "../verify/hex.ts";

declare const IGOR_SITE_FILES: Readonly<Record<string, string>>; // by the build: how the SHA-256 of each begins
declare const IGOR_SITE_HASH: string; // of all of them

// What is used of the types in TypeScript's library "webworker", which cannot
// stand beside those of the pages.
interface Lasting extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetching extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Worker {
  readonly registration: ServiceWorkerRegistration;
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: Lasting) => void): void;
  addEventListener(type: "fetch", listener: (event: Fetching) => void): void;
}

const worker = globalThis as unknown as Worker;
const prefix = "igor-site-";
const cacheName = prefix + IGOR_SITE_HASH;

/** Files whose name has their hash in it. Under this name there is never another content. */
const named = /\/(app|styles)\/[\w.-]+-([A-Z0-9]{8}|[0-9a-f]{8})\.(js|css|wasm|wasm\.gz)$/;

worker.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      try {
        const cache = await caches.open(cacheName);
        await Promise.all(Object.keys(IGOR_SITE_FILES).map((file) => keep(cache, file)));
      } catch (error) {
        await caches.delete(cacheName); // or it would count as the build before
        throw error;
      }
      await worker.skipWaiting();
    })(),
  );
});

/**
 * Keeps a file, if it is that of this build: it is not where another build is being put in this one's place, and
 * where a network, or a host, answers everything with a page of its own. What is kept is not asked for again.
 */
async function keep(cache: Cache, file: string): Promise<void> {
  // Past the browser's own cache, which may hold files of an older build.
  const request = new Request(new URL(file, worker.registration.scope), { cache: "reload" });
  const response = await fetch(request);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.clone().arrayBuffer()));
  const hash = hex(digest.subarray(0, 8));
  // Some hosts say of a compressed file how it is coded, and the browser undoes that.
  const right = hash === IGOR_SITE_FILES[file] || hash === IGOR_SITE_FILES[file.replace(/\.gz$/, "")];
  if (!response.ok || !right) throw new Error(`${file} is not that of this build`);
  await cache.put(request, response);
}

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      // The build before stays, for pages that are open and load something later.
      const older = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== cacheName);
      for (const name of older.slice(0, -1)) await caches.delete(name);
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || !url.href.startsWith(worker.registration.scope)) return;
  // What stands after the question mark is the page's own business, and not even its server's.
  url.search = "";
  event.respondWith(named.test(url.pathname) ? kept(url).then((found) => found ?? fetch(request)) : fromServer(request, url));
});

async function fromServer(request: Request, url: URL): Promise<Response> {
  let response: Response | undefined;
  let failure: unknown;
  try {
    response = await fetch(url, { cache: "no-cache", redirect: request.mode === "navigate" ? "manual" : "follow" });
    // A server that fails is as good as none.
    if (response.status < 500) return response;
  } catch (error) {
    failure = error;
  }
  const found = await kept(url);
  if (found) return found;
  if (response) return response;
  throw failure;
}

/** The file as it is kept, of this build or else of another one. */
async function kept(url: URL): Promise<Response | undefined> {
  const response = (await (await caches.open(cacheName)).match(url.href)) ?? (await caches.match(url.href));
  if (!response || !url.pathname.endsWith(".wasm")) return response;
  // The verifier asks for a compressed form of what names no coding; what is kept is near enough.
  const headers = new Headers(response.headers);
  headers.set("content-encoding", "identity");
  return new Response(response.body, { headers });
}

