// The badge and the Verify page in Firefox.

import assert from "node:assert/strict";
import { test } from "node:test";
import { dist, serve, strictPolicy } from "./browser.mjs";
import { firefox } from "./firefox.mjs";

test("the Verify page in Firefox", async (t) => {
  const server = await serve(t, { "/": `${dist}/site` });
  const evaluate = await firefox(t, `${server.url}/`);
  const verdicts = { "whole.car": "Unbroken", "tampered.zip": "Invalid", "cut.car": "Incomplete", "forked.zip": "Invalid" };
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
    "agent lineage: verified, the expected agent, 4 checkpoints, no gaps",
    "agent lineage: incomplete, 3 checkpoints, a gap",
    "agent lineage: invalid, a bad signature at tick 9",
  ]);
});
