// Draws social.png, the picture that a link to the site is shown with, from social.svg:
//
//	go run ./site/build && node site/pages/social.mjs

import { readFile, writeFile } from "node:fs/promises";
import { close, dist, open, serve } from "../test/browser.mjs";

const cleanups = [];
const context = { after: (f) => cleanups.push(f) };
const style = `@font-face { font-family: "Plex Sans"; src: url(/fonts/sans.woff2); font-weight: 100 700 }
@font-face { font-family: "Plex Mono"; src: url(/fonts/mono.woff2) }
body { margin: 0 } svg { display: block; width: 1200px; height: 630px }`;
const svg = await readFile(new URL("social.svg", import.meta.url), "utf8");
const server = await serve(context, { "/page": `<!doctype html><html lang="en"><title>social</title><style>${style}</style>${svg}`, "/fonts/": `${dist}/site/fonts` });
const page = await open(context, `${server.url}/page`, { viewport: { width: 1200, height: 630 } });
await page.evaluate(() => document.fonts.ready);
await writeFile(new URL("social.png", import.meta.url), await page.screenshot());
for (const cleanup of cleanups.reverse()) await cleanup();
await close();
