import assert from "node:assert/strict";
import { after, test } from "node:test";
import { close, dist, open, serve, strictPolicy } from "./browser.mjs";
import { check, inputs, outcomes } from "./vectors.mjs";

after(close);

const headers = { "content-security-policy": strictPolicy };
const routes = {
  "/page": `<!doctype html><html lang="en"><title>test</title><script type="module" src="/page.js"></script>`,
  "/page.js": `import * as verifier from "/npm/index.js";
window.verifier = verifier;
window.decode = (items) => items.map(({ name, base64 }) => ({ name, bytes: Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)) }));`,
  "/npm/": `${dist}/npm`,
};

for (const workers of [2, 0]) {
  test(`every vector in Chromium, with ${workers} workers`, async (t) => {
    const server = await serve(t, routes, { headers });
    const page = await open(t, server.url + "/page");
    const version = await page.evaluate((workers) => {
      window.verifier.configure({ workers });
      return window.verifier.verifierVersion();
    }, workers);
    for (const vector of await outcomes(t, version)) {
      const got = await page.evaluate(
        async ({ items, args }) => {
          try {
            const report = await window.verifier.verifyHistory(window.decode(items), args);
            const json = window.verifier.reportJSON(report);
            if (JSON.stringify(report) !== JSON.stringify(JSON.parse(json))) throw new Error("the report is not what its JSON says");
            return { json };
          } catch ({ name, code, message, problem, path, hint }) {
            return { error: { name, code, message, problem, path, hint } };
          }
        },
        { items: await inputs(vector), args: vector.args },
      );
      await t.test(vector.name, () => check(vector, got));
    }
  });
}
