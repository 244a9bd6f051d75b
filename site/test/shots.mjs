// Takes a picture of every page and state of the site and the badge, at three
// widths and in both themes, for people to look at:
//
//   go run ./site/build && node site/test/shots.mjs OUT [NAME…]
//
// With names, of those states alone. OUT/index.html shows all pictures.

import { readdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { asPhone, close, dist, open, root, serve } from "./browser.mjs";
import { cleanUp, faulty, igorServe, published } from "./published.mjs";
import { car, checkpoints } from "./life.mjs";

const [out, ...only] = process.argv.slice(2);
if (!out) {
  console.error("usage: node site/test/shots.mjs OUT [NAME…]");
  process.exit(2);
}
await mkdir(out, { recursive: true });

const widths = [390, 1280, 1920];
const themes = ["light", "dark"];

/** Longer pages are cut: what follows looks like what came before. */
const tallest = 3400;

/** What a test's context is to the harness. */
const cleanups = [];
const context = { after: (f) => cleanups.push(f) };

const samples = join(root, dist, "site", "samples");
const histories = join(root, "testdata", "histories");

// Histories that the samples do not have.

const heartbeat = readdirSync(join(histories, "heartbeat-01")).filter((name) => name.endsWith(".ckpt")).sort();
const heartbeatFiles = await Promise.all(heartbeat.map(async (name) => [name, await readFile(join(histories, "heartbeat-01", name))]));
const zip = (files) => Buffer.from(zipSync(Object.fromEntries(files), { level: 0 }));

const cutFile = zip(heartbeatFiles.map(([name, bytes], i) => [name, i === 5 ? bytes.subarray(0, 150) : bytes]));
const damaged = zip(heartbeatFiles.map(([name, bytes], i) => {
  if (i % 3 !== 1) return [name, bytes];
  const changed = Buffer.from(bytes);
  changed[160] ^= 1;
  return [name, changed];
}));

const watcher = readdirSync(join(histories, "liquidation-02")).filter((name) => name.endsWith(".ckpt"));
const watcherFiles = await Promise.all(watcher.map(async (name) => [`watcher/${name}`, await readFile(join(histories, "liquidation-02", name))]));
const mixed = zip([...heartbeatFiles, ...watcherFiles]);

/** A long life: budget spent by and by and topped up, the program upgraded now and then. */
const long = () => car(checkpoints(100_000, (i) => ({
  tick: BigInt(i * 5 + 4),
  budget: BigInt(Math.round(40e6 - (i % 20_000) * 1500 + 6e6 * Math.sin(i / 5000))),
  price: 1500n,
  wasm: Math.floor(i / 34_000),
  state: Buffer.from(`{"tick":${i}}`),
})));
const text = Buffer.from(JSON.stringify({ name: "watcher", positions: Array.from({ length: 60 }, (_, i) => ({ market: `ETH-${i}`, size: i * 3, note: "héllo" })) }, null, 1));
const stateful = car(checkpoints(12, (i) => ({ state: text, budget: BigInt(9e6 - i * 125_000), price: 2500n })));

const lines = (...badges) => badges.map((badge) => `<p>${badge}</p>`).join("\n");
const badge = (attributes) => `<igor-lineage ${attributes}>agent lineage</igor-lineage>`;
const did = "did:key:z6MknTqAWs1xa4Z81VAXdUSpFKx5BhWC1QNLaWaKu511bwgk";
const vector = (name) => `src="/vectors/${name}/history.car"`;
const states = [
  badge(`${vector("car-good")} did="${did}"`),
  badge(vector("car-good")),
  badge(vector("car-gap")),
  badge(vector("car-bad-signature-middle")),
  badge(vector("car-two-agents")),
  badge(`src="/nowhere.car"`),
  badge(`src="/slow.car"`),
];
const host = (body, { style = "", attributes = `lang="en"`, script = "" } = {}) => `<!doctype html><html ${attributes}><title>badges</title>
<meta name="viewport" content="width=device-width"><style>:root { color-scheme: light dark } body { margin: 2rem; font: 16px/1.5 system-ui, sans-serif } ${style}</style>
<script type="module" src="/npm/igor-lineage.js"></script>${script}<h1>Agents</h1>
${body}`;

const arabic = `<script type="module">
import { english, IgorLineageElement } from "/npm/element.js";
IgorLineageElement.localize("ar", { ...english, lineage: "سجل الوكيل", states: { loading: "جارٍ التحقق", verified: "موثَّق", unbroken: "متصل", incomplete: "ناقص", invalid: "غير صالح", error: "لم يُتحقق منه" },
  checkpoints: { zero: "{n} نقطة", one: "{n} نقطة", two: "{n} نقطتان", few: "{n} نقاط", many: "{n} نقطة", other: "{n} نقطة" }, expectedAgent: "الوكيل المتوقع", noGaps: "بلا ثغرات", by: "بواسطة {did}، حسب قوله", save: "حفظ التقرير", close: "إغلاق" });
</script>`;
const german = `<script type="module">
import { english, IgorLineageElement } from "/npm/element.js";
IgorLineageElement.localize("de", { ...english, lineage: "Lebenslauf des Agenten", states: { loading: "wird geprüft", verified: "geprüft", unbroken: "lückenlos", incomplete: "unvollständig", invalid: "ungültig", error: "konnte nicht geprüft werden" },
  checkpoints: { one: "{n} Sicherungspunkt", other: "{n} Sicherungspunkte" }, expectedAgent: "der erwartete Agent", noGaps: "ohne Lücken", by: "von {did}, nach eigener Angabe", save: "Bericht sichern", close: "Schließen" });
</script>`;

const server = await serve(context, { "/": `${dist}/site` });
const hosts = await serve(context, {
  "/npm/": `${dist}/npm`,
  "/vectors/": "testdata/vectors",
  "/slow.car": () => {},
  "/badges": host(lines(...states)),
  "/badges-narrow": host(states.map((one) => `<div class="narrow">${one}</div>`).join("\n"), {
    style: ".narrow { width: 11rem; padding: .5rem; border: 1px dotted gray; display: inline-block; vertical-align: top; margin: 0 .5rem .5rem 0 }",
  }),
  "/badges-dark-host": host(lines(...states), { style: ":root { color-scheme: dark } body { background: #10131a; color: #ddd }" }),
  "/badges-rtl": host(lines(...states), { attributes: `lang="ar" dir="rtl"`, script: arabic }),
  "/badges-german": host(lines(...states), { attributes: `lang="de"`, script: german }),
});

// What is done to come to a state.

const sample = (name) => async (page) => {
  await page.click(`[data-sample="${name}"]`);
  await shown(page);
};
const shown = async (page) => {
  await page.waitForSelector("#verdict", { timeout: 120_000 });
  if (await page.locator(".inspector").count()) await page.waitForSelector(".verdict-line .mark");
};
const give = (name, buffer) => async (page) => {
  await page.setInputFiles("#files", { name, mimeType: "", buffer });
  await shown(page);
};
const drag = async (page) => {
  await page.evaluate(() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(["x"], "x.ckpt"));
    document.body.dispatchEvent(new DragEvent("dragenter", { dataTransfer, bubbles: true, cancelable: true }));
  });
};
const press = async (page, ...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const settled = (page) => page.waitForFunction(() => [...document.querySelectorAll("igor-lineage")].every(({ state, src }) => state && (state !== "loading" || src.includes("slow"))));
const details = (n) => async (page) => {
  await settled(page);
  await page.locator("igor-lineage").nth(n).locator("button").first().click();
};
const change = async (page) => {
  await sample("whole.car")(page);
  await page.click('.hex [data-at="3"]');
  await press(page, "f", "f");
  await page.waitForSelector(".verdict-line.invalid");
};
/** Gives a vector's history with what lies beside it, to whoever believes its policy. */
const beside = (name, { believed = true, policy = false } = {}) => async (page) => {
  const v = JSON.parse(await readFile(join(root, "testdata", `${name}.json`), "utf8"));
  const hex = (text) => Buffer.from(text, "hex");
  if (believed && v.policy) {
    await page.click("#pins summary");
    await page.fill("#pin-policy", v.policy);
    if (v.monitor) await page.fill("#pin-monitor", v.monitor);
    if (v.require) await page.check("#pin-require");
  }
  const files = { "life.car": car(v.checkpoints.map(hex)), "life.handovers": v.handovers && hex(v.handovers), "head.tlog-proof": v.proof, "head.monitor": v.word, succession: v.succession && hex(v.succession), "successor.tlog-proof": v.commitment, "heads.policy": policy && v.policy };
  await page.setInputFiles("#files", Object.entries(files).filter(([, content]) => content).map(([name, content]) => ({ name, mimeType: "", buffer: Buffer.from(content) })));
  await shown(page);
};
const pinned = `?did=did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n`;

/** Each state: where it is, what is done there, and how it is photographed. */
const all = {
  "verify-empty": {},
  "verify-drag-over": { act: drag, view: true },
  "verify-pins": { act: (page) => page.click("#pins summary") },
  "verify-bad-pin": {
    path: "?did=did:key:nobody",
    act: async (page) => {
      await page.click('#pick-files', { trial: true });
      await page.setInputFiles("#files", { name: "x.ckpt", mimeType: "", buffer: heartbeatFiles[0][1] });
      await page.waitForSelector('#pin-did[aria-invalid="true"]');
    },
  },
  "verify-progress": {
    act: async (page) => {
      await page.setInputFiles("#files", await longLife());
      await page.waitForSelector("#stop", { state: "visible" });
      await page.waitForFunction(() => /[1-9]/.test(document.getElementById("busy-count").textContent));
    },
    quick: true,
  },
  "verify-consent-pins": { path: `load.html${pinned}&history=https://agents.example/lives/heartbeat/history.car` },
  "verify-phone": { touch: true, widths: [390], view: true },
  "verify-consent": { path: "load.html?history=https://agents.example/lives/heartbeat/2026/history-with-a-rather-long-name.car" },
  verified: { act: sample("whole.car") },
  "verified-pinned": {
    path: pinned,
    act: async (page) => {
      await page.fill("#pin-head", await page.getAttribute('[data-sample="cut.car"]', "data-head"));
      await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
      await shown(page);
    },
  },
  "verified-expected": {
    act: async (page) => {
      await page.click("#pins summary");
      await page.fill("#pin-did", pinned.slice("?did=".length));
      await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
      await shown(page);
    },
  },
  "verified-agent-folder": { act: async (page) => { await page.setInputFiles("#folder", join(root, "testdata", "vectors", "kind-agent-folder")); await shown(page); } },
  "invalid-mixed": { act: give("two.zip", mixed) },
  "hostile-names": { act: give("inv\u202eoice\u200b\x1b[31m.ckpt", heartbeatFiles[0][1].subarray(0, 100)) },
  "outdated": {
    act: async (page) => {
      await page.evaluate(() => (document.querySelector('meta[name="igor-build"]').content = "of another day"));
      await sample("whole.car")(page);
      await page.waitForSelector(".outdated");
    },
    view: true,
  },
  "error-ambiguous": { act: give("history.zip", Buffer.concat([zip(heartbeatFiles), zip(heartbeatFiles)])) },
  "error-kind": { act: give("download.html", Buffer.from("<!doctype html><title>Sign in</title>")) },
  "witnesses-empty": { act: async (page) => { await page.click("#pins summary"); await page.setInputFiles("#files", { name: "head.tlog-proof", mimeType: "", buffer: Buffer.from("c2sp.org/tlog-proof@v1\n") }); await page.waitForSelector("#kept:not([hidden])"); } },
  "witnesses-wrong": { act: async (page) => { await page.click("#pins summary"); await page.fill("#pin-policy", "log x"); await page.setInputFiles("#folder", join(histories, "heartbeat-01")); await page.waitForSelector("#pin-policy[aria-invalid=true]"); } },
  "witnesses-consent-link": { path: `load.html?did=${did}&from=https://agent.example/&policy=${encodeURIComponent("log log.example/heads+52537b5e+ARrHGzocbZ06DI5UiGyCmjnyAdHJNjiX1dIDW1OaKpgu\nquorum none")}` },
  "witnessed": { act: beside("witness/head-monitor-good") },
  "witnessed-by-files": { act: beside("witness/head-good", { believed: false, policy: true }) },
  "witnessed-not": { act: beside("witness/head-malleable") },
  "witnessed-required-not": { act: beside("witness/head-none-required") },
  "witnessed-newer": { act: beside("witness/head-monitor-newer-required") },
  "witnessed-nobody": { act: beside("witness/head-good", { believed: false }) },
  succeeds: { act: beside("witness/succession-committed") },
  "succeeds-unseen": { act: beside("witness/succession-committed", { believed: false }) },
  "succeeds-not": { act: beside("witness/succession-not-signed-by-old") },
  moves: { act: beside("handovers/three") },
  "moves-wrong": { act: beside("handovers/number-twice") },
  "moves-missing": { act: beside("handovers/number-missing") },
  "moves-cut": { act: beside("handovers/cut-short") },
  incomplete: { act: sample("cut.car") },
  "incomplete-gap": { act: async (page) => { await page.setInputFiles("#folder", join(histories, "mut-missing-mid")); await shown(page); } },
  "incomplete-later-part": { act: async (page) => { await page.setInputFiles("#folder", join(histories, "heartbeat-03-B-only")); await shown(page); } },
  invalid: { act: sample("tampered.zip") },
  "invalid-many": { act: async (page) => { await page.setInputFiles("#folder", histories); await shown(page); } },
  "invalid-damaged": { act: give("damaged.zip", damaged) },
  "invalid-other-identity": { path: pinned, act: async (page) => { await page.setInputFiles("#folder", join(histories, "liquidation-02")); await shown(page); } },
  "invalid-unsigned": { act: async (page) => { await page.setInputFiles("#folder", join(histories, "v2-single-zeroed")); await shown(page); } },
  fork: { act: sample("forked.zip") },
  truncated: { act: give("cut-file.zip", cutFile) },
  "not-a-history": { act: give("holiday.ckpt", Buffer.from("hello, this is a letter, and no checkpoint at all")) },
  "one-checkpoint": { act: give("0000000004.ckpt", heartbeatFiles[0][1]) },
  "error-car": { act: give("history.car", (await readFile(join(samples, "whole.car"))).subarray(0, -100)) },
  "error-archive": { act: give("holiday.zip", zip([["photo.jpg", Buffer.from("x")]])) },
  "error-unreachable": {
    path: "load.html?history=http://localhost:9/nowhere/history.car",
    act: async (page) => { await page.click("#ask-yes"); await shown(page); },
  },
  "error-link": { path: "load.html?history=ftp://x" },
  "timeline-zoom": {
    act: async (page) => {
      await sample("whole.car")(page);
      await page.click('[aria-label="Zoom in"]');
      await page.click('[aria-label="Zoom in"]');
    },
    before: (page) => page.hover(".u-over", { position: { x: 140, y: 120 } }),
    element: "section:has(.timeline)",
  },
  "timeline-fork": { act: sample("forked.zip"), element: "section:has(.timeline)" },
  "timeline-gap": { act: async (page) => { await page.setInputFiles("#folder", join(histories, "mut-missing-mid")); await shown(page); }, element: "section:has(.timeline)" },
  "checkpoints-100000": { act: async (page) => { await page.setInputFiles("#files", await longLife()); await shown(page); } },
  "inspector-state": { act: give("stateful.car", stateful), element: "section:has(.inspector)" },
  "inspector-hover": {
    act: sample("whole.car"),
    before: (page) => page.hover(".fields-table tbody tr:nth-child(5)"),
    element: "section:has(.inspector)",
  },
  "inspector-changed": { act: change, element: "section:has(.inspector)" },
  embed: { path: "embed.html", act: settled },
  "embed-invalid": {
    path: "embed.html",
    act: async (page) => {
      await page.selectOption("#preview", "tampered.car");
      await page.fill("#src", "https://agents.example/lives/heartbeat.car");
      await page.fill("#did", did);
      await page.waitForSelector("igor-lineage[state=invalid]");
    },
    view: true,
  },
  "embed-own": {
    path: "embed.html",
    act: async (page) => {
      await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
      await page.waitForFunction(() => document.getElementById("preview").value === "own");
      await settled(page);
      await page.setInputFiles("#files", { name: "life.car", mimeType: "", buffer: Buffer.from("hello") });
      await page.waitForSelector("#said.failed");
      await page.fill("#src", "/1.ckpt /2.ckpt /3.ckpt");
    },
  },
  ci: { path: "ci.html" },
  specs: { path: "specs/" },
  ...Object.fromEntries(
    readdirSync(join(root, dist, "site", "specs")).filter((name) => name !== "index.html").map((name) => [`spec-${name.replace(".html", "")}`, { path: `specs/${name}` }]),
  ),
  badges: { path: "badges", act: settled, view: true },
  "badges-narrow": { path: "badges-narrow", act: settled, view: true },
  "badges-dark-host": { path: "badges-dark-host", act: settled, view: true },
  "badges-rtl": { path: "badges-rtl", act: settled, view: true },
  "badges-rtl-details": { path: "badges-rtl", act: details(0), view: true },
  "badges-german": { path: "badges-german", act: settled, view: true },
  "badge-details-verified": { path: "badges", act: details(0), view: true },
  "badge-details-unbroken": { path: "badges", act: details(1), view: true },
  "badge-details-incomplete": { path: "badges", act: details(2), view: true },
  "badge-details-invalid": { path: "badges", act: details(3), view: true },
  "badge-details-two-keys": { path: "badges", act: details(4), view: true },
  "badge-details-error": { path: "badges", act: details(5), view: true },
  "focus-skip": { act: (page) => press(page, "Tab"), view: true },
  "focus-sample": { act: async (page) => { await page.focus("[data-sample]"); await press(page, "Shift+Tab", "Tab"); }, view: true },
  "focus-plot": { act: async (page) => { await sample("whole.car")(page); await page.focus(".zoom button:last-child"); await press(page, "Tab", "ArrowRight"); }, element: "section:has(.timeline)" },
  "focus-byte": { act: async (page) => { await sample("whole.car")(page); await page.focus(".fields-table button"); await press(page, "Enter", "ArrowRight"); }, element: "section:has(.inspector)" },
  "forced-colors-empty": { act: async () => {}, forced: true },
  "forced-colors-invalid": { act: sample("tampered.zip"), forced: true },
  "forced-colors-verified": { act: sample("whole.car"), forced: true },
  "forced-colors-badges": { path: "badges", act: settled, forced: true, view: true },
  "reflow-320-verified": { act: sample("whole.car"), widths: [320] },
  "reflow-320-invalid": { act: sample("tampered.zip"), widths: [320] },
  "reflow-320-embed": { path: "embed.html", act: settled, widths: [320] },
};

/** The long life as a file, which is made once. */
let longFile;
async function longLife() {
  if (!longFile) {
    const dir = await mkdtemp(join(tmpdir(), "igor-shots-"));
    cleanups.push(() => rm(dir, { recursive: true, force: true }));
    longFile = join(dir, "long.car");
    await writeFile(longFile, long());
  }
  return longFile;
}

// Lives on servers, which are only made where they are wanted.
const named = {
  "find-wrong": async () => ({ act: async (page) => { await page.fill("#find-what", "did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n"); await page.click("#find button"); } }),
  "find-consent-typed": async ({ life, url }) => ({
    act: async (page) => { await page.fill("#find-what", life.did); await page.fill("#find-from", url); await page.click("#find button"); await page.waitForSelector("#ask:not([hidden])"); },
  }),
  "find-consent-link": async ({ life }) => ({ path: `load.html?did=${life.did}&from=https://agent.example/&from=https://archive.example/lives/&head=${life.head}` }),
  "find-verified": async ({ life, url }) => ({
    act: async (page) => { await page.fill("#find-what", life.did); await page.fill("#find-from", url); await page.click("#find button"); await page.waitForSelector("#ask:not([hidden])"); await page.click("#ask-yes"); await shown(page); },
  }),
  "find-unbroken-link": async ({ life, url, old }) => ({ path: `load.html?did=${life.did}&from=${url}&from=${old}`, act: async (page) => { await page.click("#ask-yes"); await shown(page); } }),
  "find-slow": async ({ life, slow }) => ({ path: `load.html?did=${life.did}&from=${slow}`, act: async (page) => { await page.click("#ask-yes"); await shown(page); } }),
  "find-fetching": async ({ life, stuck }) => ({ path: `load.html?did=${life.did}&from=${stuck}`, act: async (page) => { await page.click("#ask-yes"); await page.waitForFunction(() => document.getElementById("busy-title").textContent === "Fetching" && document.getElementById("busy-count").textContent !== ""); } }),
  "find-old-head": async ({ life, old }) => ({ path: `load.html?did=${life.did}&from=${old}&head=${life.head}`, act: async (page) => { await page.click("#ask-yes"); await shown(page); } }),
  "find-nothing-there": async ({ url }) => ({ path: `load.html?did=did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck&from=${url}`, act: async (page) => { await page.click("#ask-yes"); await shown(page); } }),
};
if (only.length === 0 || only.some((name) => name in named)) {
  const { life, old } = await published();
  cleanups.push(cleanUp);
  const url = await igorServe(context, life.tree);
  const slow = (await faulty(context, url, (request, response, path) => path.includes("segments/1.car") && (response.writeHead(404).end(), true))).url;
  const stuck = (await faulty(context, url, (request, response, path) => path.includes("segments/1.car"))).url;
  for (const [name, state] of Object.entries(named)) all[name] = await state({ life, url, slow, stuck, old: await igorServe(context, old.tree) });
}

const unknown = only.filter((name) => !all[name]);
if (unknown.length > 0) {
  console.error(`shots: no state ${unknown.join(", ")}; there are ${Object.keys(all).join(", ")}`);
  process.exit(2);
}

const taken = [];
for (const [name, state] of Object.entries(all)) {
  if (only.length > 0 && !only.includes(name)) continue;
  const { path = "", act, before, view, element, quick, forced } = state;
  const viewport = { width: 1280, height: 900 };
  const visits = quick ? widths.flatMap((width) => themes.map((theme) => [[width], [theme]])) : [[state.widths ?? widths, themes]];
  for (const [widths, themes] of visits) {
    const page = await open(context, `${path.startsWith("badges") ? hosts.url : server.url}/${path}`, { viewport, colorScheme: themes[0] });
    if (quick) await page.setViewportSize({ width: widths[0], height: 900 });
    if (quick) await page.emulateMedia({ colorScheme: themes[0] });
    if (forced) await page.emulateMedia({ forcedColors: "active" });
    await page.evaluate(() => document.fonts.ready);
    await act?.(page);
    for (const width of widths) {
      // An element is seen as a whole, or what is sticky in it would be in its middle.
      await page.setViewportSize({ width, height: element ? 3000 : width < 600 ? 844 : width < 1900 ? 900 : 1080 });
      if (state.touch) await asPhone(page);
      for (const colorScheme of themes) {
        await page.emulateMedia({ colorScheme });
        await page.waitForTimeout(quick ? 0 : 150);
        await before?.(page);
        const file = `${name}-${width}-${colorScheme}.png`;
        const options = { path: join(out, file), animations: "disabled" };
        if (element) await page.locator(element).screenshot(options);
        else if (view) await page.screenshot(options);
        else {
          const height = await page.evaluate(() => document.documentElement.scrollHeight);
          await page.screenshot({ ...options, fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(height, tallest) } });
        }
        taken.push(file);
      }
    }
    await page.close();
  }
  console.log(name);
}

await writeFile(
  join(out, "index.html"),
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>Pictures</title><style>body { font: 14px system-ui; background: #888 } figure { display: inline-block; vertical-align: top; margin: 4px } img { height: 420px; display: block }</style>
${taken.map((file) => `<figure><a href="${file}"><img src="${file}" alt="" loading="lazy"></a>${file}</figure>`).join("\n")}`,
);
await close();
// What a page said to the console is for the tests to judge.
await Promise.allSettled(cleanups.map(async (cleanup) => cleanup()));
