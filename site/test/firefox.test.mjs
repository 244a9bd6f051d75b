// The badge and the Verify page in Firefox.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { dist, serve, strictPolicy } from "./browser.mjs";
import { firefox } from "./firefox.mjs";
import { car, checkpoints } from "./life.mjs";
import { cleanUp, faulty, igorServe, published } from "./published.mjs";

after(cleanUp);

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

test("a life is found by its DID in Firefox, and its policy lets nothing else be asked", async (t) => {
  const { life } = await published();
  const lives = await faulty(t, await igorServe(t, life.tree));
  const server = await serve(t, { "/": `${dist}/site` });
  const evaluate = await firefox(t, `${server.url}/load.html?${new URLSearchParams({ did: life.did, from: lives.url })}`);
  await evaluate(`(async () => { while (document.getElementById("ask").hidden) await new Promise((resolve) => setTimeout(resolve, 20)); })()`);
  assert.deepEqual(lives.requests, []);
  const shown = await evaluate(`(async () => {
    document.getElementById("ask-yes").click();
    while (!document.querySelector(".fetched")) await new Promise((resolve) => setTimeout(resolve, 20));
    const other = await fetch("${lives.url}elsewhere").then(() => "loaded", () => "refused");
    return { verdict: document.getElementById("verdict").textContent, whole: document.querySelector(".verdict").textContent.includes("2,100 checkpoints"), other };
  })()`);
  assert.deepEqual(shown, { verdict: "Unbroken", whole: true, other: "refused" });
  assert.equal(lives.requests.length, 6); // head, two segments, tail; and whether hand-overs and a succession are there
});

/** On the page: gives it files, and waits for what is then said. */
const give = `window.give = async (files) => {
  document.getElementById("verdict")?.remove();
  const transfer = new DataTransfer();
  for (const file of files) transfer.items.add(file);
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  return window.said();
}, window.said = async () => {
  for (let text; ; await new Promise((resolve) => setTimeout(resolve, 20))) if ((text = document.getElementById("verdict")?.textContent)) return text;
}`;

test("several things dropped at once, back and forward, in Firefox", async (t) => {
  const server = await serve(t, { "/": `${dist}/site` });
  const evaluate = await firefox(t, `${server.url}/`);
  await evaluate(`(${give}, 0)`);
  const first = car(checkpoints(3)).toString("base64");
  const [a, b, c] = checkpoints(3).map((bytes) => bytes.toString("base64"));
  const bytes = (text) => `Uint8Array.from(atob("${text}"), (c) => c.charCodeAt(0))`;
  assert.equal(await evaluate(`give([new File([${bytes(first)}], "life.car")])`), "Unbroken");
  const shown = () => evaluate(`({ start: !document.getElementById("idle").hidden, verdict: document.getElementById("verdict")?.textContent })`);
  const step = async (which) => {
    await evaluate(`new Promise((resolve) => (addEventListener("popstate", () => setTimeout(resolve, 100), { once: true }), history.${which}()))`);
    return shown();
  };
  assert.equal((await step("back")).start, true);
  assert.deepEqual(await step("forward"), { start: false, verdict: "Unbroken" });
  // One history in pieces, with what is none of it.
  const pieces = [b, a, c].map((text, i) => `new File([${bytes(text)}], "${i}.ckpt")`);
  assert.equal(await evaluate(`give([${pieces}, new File(["notes"], "notes.txt"), new File(["x"], ".DS_Store")])`), "Unbroken");
  assert.match(await evaluate(`document.querySelector(".questions").textContent`), /3 checkpoints.*not looked at: 2 other files/);
  // Two lives are no one's.
  assert.equal(await evaluate(`give([new File([${bytes(first)}], "life.car"), ${pieces}])`), "Invalid");
  assert.deepEqual(await evaluate(`[...document.querySelectorAll(".keys li b")].map(({ textContent }) => textContent)`), ["3 checkpoints", "3 checkpoints"]);
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
