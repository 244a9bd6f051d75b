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
const link = byID("link");

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
  const files = src.value.trim().split(/\s+/);
  link.textContent = address(files[0]!);
  byID("link-one").hidden = files.length > 1;
  byID("link-several").hidden = files.length === 1;
}

/** The Verify page's address for a history in one file, as far as it is known. */
function address(file: string): string {
  const [path, origin] = [file || src.placeholder, "https://agent.example"];
  const parts = [`history=${URL.canParse(path, origin) ? new URL(path, origin).href : path}`];
  if (did.value.trim()) parts.push(`did=${did.value.trim()}`);
  if (head.value.trim()) parts.push(`head=${head.value.trim()}`);
  const query = parts.map((part) => part.replace(/[%&#+\s]/g, encodeURIComponent)).join("&");
  return `${new URL("load.html", document.baseURI).href}?${query}`;
}

function show(): void {
  const { value } = preview;
  const option = preview.selectedOptions[0]!;
  whose = "";
  pin();
  badge.setAttribute("head", option.dataset["head"] ?? "");
  badge.setAttribute("src", new URL(`samples/${value}`, document.baseURI).href);
}

/** The identity of the history in the preview. */
let whose = "";

/** A page that says whom it expects has a badge that says less. */
function pin(): void {
  badge.setAttribute("did", did.value.trim() ? whose : "");
}

badge.addEventListener("igor-lineage-report", ({ report }) => {
  whose = report.did ?? "";
  pin();
});
for (const field of [src, did, head, script]) field.addEventListener("input", write);
did.addEventListener("input", pin);
preview.addEventListener("change", show);
write();
show();
