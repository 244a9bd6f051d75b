// Debian's Firefox, by its own WebDriver BiDi, in a page whose every error fails the test.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

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
 * Opens a page in Firefox. When the test ends, it fails if there was a console error or a policy violation.
 *
 * @returns a function that evaluates an expression on the page, whose value is made of what JSON has
 */
export async function firefox(t, url) {
  const errors = [];
  const call = await start(t, (_, { level, text }) => level === "error" && errors.push(text));
  await call("session.new", { capabilities: {} });
  await call("session.subscribe", { events: ["log.entryAdded"] });
  const violations = `() => addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => console.error("policy violation: " + effectiveDirective + " " + blockedURI))`;
  await call("script.addPreloadScript", { functionDeclaration: violations });
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
