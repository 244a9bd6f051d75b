import { chromium } from "/tmp/pk/main/node_modules/playwright-core/index.mjs";
const b = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const port of [4400, 4401]) {
  const p = await b.newPage();
  p.on("console", m => console.log(port, m.type(), m.text()));
  p.on("pageerror", e => console.log(port, "pageerror", e.message));
  p.on("requestfailed", r => console.log(port, "failed", r.url()));
  p.on("response", r => { if (r.status() >= 400) console.log(port, r.status(), r.url()); });
  await p.goto(`http://localhost:${port}/`);
  await new Promise(r => setTimeout(r, 6000));
  console.log(port, await p.textContent("#o"), await p.locator("igor-lineage").getAttribute("state"));
  console.log(port, (await p.evaluate(() => performance.getEntriesByType("resource").map(r => r.name))).join("\n"));
}
await b.close();
