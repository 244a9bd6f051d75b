// The badge builder.

import "../badge/igor-lineage.ts";
import { byID } from "./dom.ts";
import "./text.ts";

const src = byID<HTMLInputElement>("src");
const did = byID<HTMLInputElement>("did");
const head = byID<HTMLInputElement>("head");
const script = byID<HTMLInputElement>("script");
const preview = byID<HTMLSelectElement>("preview");
const badge = byID("badge");
const code = byID("code");

/** Writes an attribute, with whatever was typed as its value. */
function attribute(name: string, value: string): string {
  const escaped = value.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;");
  return value === "" ? "" : ` ${name}="${escaped}"`;
}

function write(): void {
  const values = [attribute("src", src.value.trim() || src.placeholder), attribute("did", did.value.trim()), attribute("head", head.value.trim())];
  code.textContent =
    `<script type="module"${attribute("src", script.value.trim() || script.placeholder)}></script>\n` +
    `<igor-lineage${values.join("")}>agent lineage</igor-lineage>`;
}

function show(): void {
  const { value } = preview;
  const option = preview.selectedOptions[0]!;
  badge.setAttribute("head", option.dataset["head"] ?? "");
  badge.setAttribute("src", new URL(`samples/${value}`, document.baseURI).href);
}

for (const field of [src, did, head, script]) field.addEventListener("input", write);
preview.addEventListener("change", show);
write();
show();
