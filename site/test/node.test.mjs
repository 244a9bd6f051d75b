import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { configure, reportJSON, verifierVersion, verifyHistory } from "../../dist/npm/node.js";
import { check, command, igorVerify, inputs, vectors } from "./vectors.mjs";

for (const workers of [2, 0]) {
  test(`every vector, in Node with ${workers} workers`, async (t) => {
    configure({ workers });
    const verify = await igorVerify(t, await verifierVersion());
    for (const vector of await vectors()) {
      if (!vector.inputs.every((input) => existsSync(join(vector.folder, input)))) continue; // no such file
      const cli = await command(verify, vector);
      await t.test(vector.name, async () => {
        const items = (await inputs(vector)).map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, "base64") }));
        const got = await verifyHistory(items, vector.args).then(
          (report) => ({ json: reportJSON(report) }),
          (error) => ({ error }),
        );
        check(vector, got, cli);
      });
    }
  });
}
