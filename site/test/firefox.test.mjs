// Debian's Firefox, by its own WebDriver BiDi: every vector has the same report there, and
// the badge and the Verify page work.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { dist, serve, strictPolicy } from "./browser.mjs";
import { check, inputs, outcomes } from "./vectors.mjs";

// Node 20 has no WebSocket of its own.
const { ws: WebSocket } = createRequire(import.meta.url)("playwright-core/lib/utilsBundle");

/** Debian's Firefox; FIREFOX names another one. */
const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/** Starts Firefox and returns a function that calls a command of WebDriver BiDi. */
async function start(t, onEvent) {
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

/**
 * Opens a page in Firefox. When the test ends, it fails if there was a console error.
 *
 * @returns a function that evaluates an expression on the page, whose value is made of what JSON has
 */
async function firefox(t, url) {
  const errors = [];
  const call = await start(t, (_, { level, text }) => level === "error" && errors.push(text));
  await call("session.new", { capabilities: {} });
  await call("session.subscribe", { events: ["log.entryAdded"] });
  const { contexts } = await call("browsingContext.getTree", {});
  const { context } = contexts[0];
  await call("browsingContext.navigate", { context, url, wait: "complete" });
  t.after(() => assert.deepEqual(errors, [], "the page had errors"));
  return async (expression) => {
    const { result, exceptionDetails } = await call("script.evaluate", {
      target: { context },
      awaitPromise: true,
      expression: `(async () => JSON.stringify(await ${expression}))()`,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.type === "undefined" ? undefined : JSON.parse(result.value);
  };
}

test("every vector in Firefox", async (t) => {
  const server = await serve(
    t,
    {
      "/page": `<!doctype html><html lang="en"><title>test</title><script type="module" src="/page.js"></script>`,
      "/page.js": `import * as verifier from "/npm/index.js";
window.outcome = async (items, args) => {
  items = items.map(({ name, base64 }) => ({ name, bytes: Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)) }));
  try {
    return { json: verifier.reportJSON(await verifier.verifyHistory(items, args)) };
  } catch ({ name, code, message, problem, path, hint }) {
    return { error: { name, code, message, problem, path, hint } };
  }
};
window.version = verifier.verifierVersion;`,
      "/npm/": `${dist}/npm`,
    },
    { headers: { "content-security-policy": strictPolicy } },
  );
  const evaluate = await firefox(t, `${server.url}/page`);
  for (const vector of await outcomes(t, await evaluate("version()"))) {
    const got = await evaluate(`outcome(${JSON.stringify(await inputs(vector))}, ${JSON.stringify(vector.args ?? {})})`);
    await t.test(vector.name, () => check(vector, got));
  }
});

test("the Verify page in Firefox", async (t) => {
  const server = await serve(t, { "/": `${dist}/site` });
  const evaluate = await firefox(t, `${server.url}/`);
  const verdicts = { "whole.car": "Verified", "tampered.zip": "Invalid", "cut.car": "Incomplete", "forked.zip": "Invalid" };
  for (const [sample, verdict] of Object.entries(verdicts)) {
    const shown = await evaluate(`(async () => {
      document.getElementById("verdict")?.remove();
      document.querySelector('[data-sample="${sample}"]').click();
      let verdict;
      while (!(verdict = document.getElementById("verdict")?.textContent)) await new Promise((resolve) => setTimeout(resolve, 20));
      while (!document.querySelector(".plot canvas")) await new Promise((resolve) => setTimeout(resolve, 20));
      return { verdict, wide: document.documentElement.scrollWidth > innerWidth };
    })()`);
    assert.deepEqual(shown, { verdict, wide: false }, sample);
  }
});

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
  const evaluate = await firefox(t, `${server.url}/page`);
  const texts = await evaluate(`(async () => {
    await customElements.whenDefined("igor-lineage");
    const badges = [...document.querySelectorAll("igor-lineage")];
    while (badges.some(({ state }) => state === "loading")) await new Promise((resolve) => setTimeout(resolve, 20));
    return badges.map(({ shadowRoot }) => shadowRoot.querySelector("button").textContent);
  })()`);
  assert.deepEqual(texts, [
    "agent lineage: verified, 4 checkpoints, no gaps",
    "agent lineage: incomplete, 3 checkpoints, a gap",
    "agent lineage: invalid, a bad signature at tick 9",
  ]);
});
