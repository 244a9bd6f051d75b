// Every vector has the report that igor-verify gives, on every platform.

import { after, test } from "node:test";
import { close, dist, open, serve, strictPolicy } from "./browser.mjs";
import { firefox } from "./firefox.mjs";
import { check, inputs, outcomes } from "./vectors.mjs";

after(close);

const headers = { "content-security-policy": strictPolicy };
const routes = {
  "/page": `<!doctype html><html lang="en"><title>test</title><script type="module" src="/page.js"></script>`,
  "/page.js": `import * as verifier from "/npm/index.js";
window.verifier = verifier;
window.outcome = async (items, args) => {
  items = items.map(({ base64, ...item }) => ({ ...item, bytes: Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)) }));
  try {
    const report = await verifier.verifyHistory(items, args);
    const json = verifier.reportJSON(report);
    if (JSON.stringify(report) !== JSON.stringify(JSON.parse(json))) throw new Error("the report is not what its JSON says");
    return { json };
  } catch ({ name, code, message, problem, path, hint }) {
    return { error: { name, code, message, problem, path, hint } };
  }
};`,
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
    for (const vector of await outcomes(version)) {
      const got = await page.evaluate(({ items, args }) => window.outcome(items, args), { items: await inputs(vector), args: vector.args });
      await t.test(vector.name, () => check(vector, got));
    }
  });
}

test("every vector in Firefox", async (t) => {
  const server = await serve(t, routes, { headers });
  const evaluate = await firefox(t, `${server.url}/page`);
  for (const vector of await outcomes(await evaluate("verifier.verifierVersion()"))) {
    const got = await evaluate(`outcome(${JSON.stringify(await inputs(vector))}, ${JSON.stringify(vector.args ?? {})})`);
    await t.test(vector.name, () => check(vector, got));
  }
});

test("every vector in Node", async (t) => {
  const { configure, reportJSON, verifierVersion, verifyHistory } = await import(`../../${dist}/npm/node.js`);
  for (const workers of [2, 0]) {
    await t.test(`with ${workers} workers`, async (t) => {
      configure({ workers });
      for (const vector of await outcomes(await verifierVersion())) {
        const items = (await inputs(vector)).map(({ base64, ...item }) => ({ ...item, bytes: Buffer.from(base64, "base64") }));
        const got = await verifyHistory(items, vector.args).then(
          (report) => ({ json: reportJSON(report) }),
          (error) => ({ error }),
        );
        await t.test(vector.name, () => check(vector, got));
      }
    });
  }
});
