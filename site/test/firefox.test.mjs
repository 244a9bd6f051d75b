// Debian's Firefox, by its own WebDriver BiDi: the badge verifies histories there too.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { dist, serve, strictPolicy } from "./browser.mjs";

// Node 20 has no WebSocket of its own.
const { ws: WebSocket } = createRequire(import.meta.url)("playwright-core/lib/utilsBundle");

/** Debian's Firefox; FIREFOX names another one. */
const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/** Starts Firefox and returns a function that calls a command of WebDriver BiDi. */
async function firefox(t, onEvent) {
  const profile = await mkdtemp(join(tmpdir(), "igor-firefox-"));
  const browser = spawn(executablePath, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, HOME: profile },
  });
  t.after(async () => {
    if (browser.exitCode === null && browser.signalCode === null) {
      browser.kill();
      await once(browser, "exit");
    }
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  let said = "";
  const address = await new Promise((resolve, reject) => {
    browser.once("error", reject);
    browser.once("exit", (code) => reject(new Error(`firefox ended with ${code}: ${said}`)));
    browser.stderr.on("data", (text) => {
      said += text;
      const found = /WebDriver BiDi listening on (ws:\S+)\s/.exec(said);
      if (found) resolve(found[1]);
    });
  });
  const socket = new WebSocket(`${address}/session`);
  await once(socket, "open");
  t.after(() => socket.terminate());
  const calls = new Map();
  socket.on("message", (text) => {
    const { id, method, params, result, message } = JSON.parse(text);
    if (id === undefined) return onEvent(method, params);
    const { resolve, reject } = calls.get(id);
    if (result) resolve(result);
    else reject(new Error(message));
  });
  let last = 0;
  return (method, params) =>
    new Promise((resolve, reject) => {
      calls.set(++last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    });
}

test("badges in Firefox, under a strict policy", async (t) => {
  const did = "did:key:z6MknTqAWs1xa4Z81VAXdUSpFKx5BhWC1QNLaWaKu511bwgk";
  const badge = (vector) => `<igor-lineage src="/vectors/${vector}/history.car" did="${did}"></igor-lineage>`;
  const server = await serve(
    t,
    {
      "/page": `<!doctype html><html lang="en"><title>test</title>
${badge("car-good")}${badge("car-gap")}${badge("car-bad-signature-middle")}
<script type="module" src="/npm/igor-lineage.js"></script>`,
      "/npm/": `${dist}/npm`,
      "/vectors/": "testdata/vectors",
    },
    { headers: { "content-security-policy": strictPolicy } },
  );
  const errors = [];
  const call = await firefox(t, (_, { level, text }) => level === "error" && errors.push(text));
  await call("session.new", { capabilities: {} });
  await call("session.subscribe", { events: ["log.entryAdded"] });
  const { contexts } = await call("browsingContext.getTree", {});
  const { context } = contexts[0];
  await call("browsingContext.navigate", { context, url: `${server.url}/page`, wait: "complete" });
  const { result } = await call("script.evaluate", {
    target: { context },
    awaitPromise: true,
    expression: `(async () => {
      await customElements.whenDefined("igor-lineage");
      const badges = [...document.querySelectorAll("igor-lineage")];
      while (badges.some(({ state }) => state === "loading")) await new Promise((resolve) => setTimeout(resolve, 20));
      return badges.map(({ shadowRoot }) => shadowRoot.querySelector("button").textContent).join("\\n");
    })()`,
  });
  assert.deepEqual(result.value.split("\n"), [
    "agent lineage: verified, 4 checkpoints, no gaps",
    "agent lineage: incomplete, 3 checkpoints, a gap",
    "agent lineage: invalid, a bad signature at tick 9",
  ]);
  assert.deepEqual(errors, []);
});
