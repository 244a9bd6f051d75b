import { test } from "node:test";
import { dist } from "./browser.mjs";
import { check, inputs, outcomes } from "./vectors.mjs";

const { configure, reportJSON, verifierVersion, verifyHistory } = await import(`../../${dist}/npm/node.js`);

test("every vector in Node", async (t) => {
  const vectors = await outcomes(t, await verifierVersion());
  for (const workers of [2, 0]) {
    await t.test(`with ${workers} workers`, async (t) => {
      configure({ workers });
      for (const vector of vectors) {
        const items = (await inputs(vector)).map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, "base64") }));
        const got = await verifyHistory(items, vector.args).then(
          (report) => ({ json: reportJSON(report) }),
          (error) => ({ error }),
        );
        await t.test(vector.name, () => check(vector, got));
      }
    });
  }
});
