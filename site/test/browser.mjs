// The harness of the browser tests: a static file server, and Chromium in a
// page whose every console error and policy violation fails the test.
//
//   import { open, serve } from "./browser.mjs";
//   test("…", async (t) => {
//     const server = await serve(t, { "/npm/": "dist/npm" });
//     const page = await open(t, server.url + "/page.html");
//     …
//   });

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** The repository's root. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** What the build program wrote; DIST names another folder in the repository. */
export const dist = process.env.DIST ?? "dist";

/** Debian's Chromium; CHROMIUM names another one. */
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** The policy that the badge has to work under. */
export const strictPolicy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'";

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".car": "application/vnd.ipld.car",
};

/**
 * Serves folders and pages by their paths, for the time of the test.
 *
 * @param t the test's context
 * @param {Record<string, string | ((request, response) => void)>} routes a path that ends in / to a folder in the
 *   repository, or any other path to an HTML text, or to a function that answers
 * @param {{ headers?: Record<string, string> }} options headers of every answer
 */
export async function serve(t, routes, { headers = {} } = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    requests.push(path);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (path === "/favicon.ico") return response.writeHead(204).end(); // the browser's own wish
    const exact = routes[path];
    if (typeof exact === "function") return exact(request, response);
    if (typeof exact === "string" && !path.endsWith("/")) {
      response.setHeader("content-type", types[extname(path)] ?? types[".html"]);
      return response.end(exact);
    }
    const prefix = Object.keys(routes)
      .filter((route) => route.endsWith("/") && path.startsWith(route))
      .sort((a, b) => b.length - a.length)[0];
    const folder = prefix && join(root, routes[prefix]);
    let file = folder && normalize(join(folder, path.slice(prefix.length)));
    if (file && path.endsWith("/")) file = join(file, "index.html");
    const info = file && (file + sep).startsWith(normalize(folder) + sep) && (await stat(file).catch(() => undefined));
    if (!info?.isFile()) return response.writeHead(404).end("not found");
    response.writeHead(200, {
      "content-type": types[extname(file)] ?? "application/octet-stream",
      "content-length": info.size,
    });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://localhost:${server.address().port}`, requests };
}

let browser;

/** Starts Chromium once for all tests of a file. */
async function launch() {
  const userData = await mkdtemp(join(tmpdir(), "igor-chromium-"));
  const context = await chromium.launchPersistentContext(userData, {
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  return {
    context,
    close: async () => {
      await context.close();
      await rm(userData, { recursive: true, force: true });
    },
  };
}

/** Ends Chromium: a file of tests has `after(close)` once. */
export async function close() {
  await (await browser)?.close();
  browser = undefined;
}

/**
 * Opens a page in a window of its own. When the test ends, it fails if there was a
 * console error, a warning, an uncaught error or a policy violation.
 *
 * @param {{ expect?: RegExp[] }} options messages that the test wants; one that does not come fails it too
 */
export async function open(t, url, { expect = [], init, viewport, colorScheme, reducedMotion } = {}) {
  browser ??= launch();
  const { context } = await browser;
  const page = await context.newPage();
  const seen = [];
  page.on("console", (message) => {
    // Of a life that is fetched, the browser says which of the files that may lie beside it is not there.
    if (/404/.test(message.text()) && /\/igor\/did:key:\w+\/(handovers|succession|head\.\S+|successor\.tlog-proof)$/.test(decodeURIComponent(message.location().url))) return;
    if (["error", "warning", "assert"].includes(message.type())) seen.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.push(`uncaught: ${error.stack ?? error}`));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy violation: ${event.effectiveDirective} ${event.blockedURI}`),
    );
  });
  if (init) await page.addInitScript(init);
  if (viewport) await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme: colorScheme ?? "light", reducedMotion: reducedMotion ?? "no-preference" });
  t.after(async () => {
    await page.close();
    for (const pattern of expect) {
      assert.ok(
        seen.some((message) => pattern.test(message)),
        `the page was to say ${pattern}, but said ${JSON.stringify(seen)}`,
      );
    }
    const unexpected = seen.filter((message) => !expect.some((pattern) => pattern.test(message)));
    assert.deepEqual(unexpected, [], "the page had errors");
  });
  await page.goto(url);
  return page;
}

/** Makes a page that of a phone, whose one pointer is a finger, until its size is set again. */
export async function asPhone(page, { width, height } = { width: 390, height: 844 }) {
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: true });
  await session.send("Emulation.setTouchEmulationEnabled", { enabled: true });
}
