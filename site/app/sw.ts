// The service worker: it keeps the site's files, all of one build, and answers
// with them. It touches nothing but the site's own files.

declare const IGOR_SITE_FILES: readonly string[]; // by the build
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
const cacheName = `igor-site-${IGOR_SITE_HASH}`;

worker.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(cacheName);
      // Past the browser's own cache, which may hold files of an older build.
      await cache.addAll(IGOR_SITE_FILES.map((file) => new Request(new URL(file, worker.registration.scope), { cache: "reload" })));
      await worker.skipWaiting();
    })(),
  );
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith("igor-site-") && name !== cacheName) await caches.delete(name);
      }
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || !url.href.startsWith(worker.registration.scope)) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(cacheName);
      // What stands after the question mark is the page's own business.
      url.search = "";
      const kept = await cache.match(url.href);
      if (!kept) return fetch(request);
      if (!url.pathname.endsWith(".wasm")) return kept;
      // The verifier asks for a compressed form of what names no coding; what is kept is near enough.
      const headers = new Headers(kept.headers);
      headers.set("content-encoding", "identity");
      return new Response(kept.body, { headers });
    })(),
  );
});

export {};
