// The badge builder.

import "../badge/igor-lineage.ts";
import { VerifyError } from "../verify/error.ts";
import { configure } from "../verify/api.ts";
import { check } from "./check.ts";
import { items } from "./collect.ts";
import { byID } from "./dom.ts";
import { files } from "./files.ts";
import { askFor } from "./handover.ts";
import { goTo, parseName } from "./link.ts";
import { unpinned } from "./pins.ts";
import { receive, type Source } from "./receive.ts";
import "./text.ts";

configure({ wasm: files.wasm, worker: files.worker });

const src = byID<HTMLInputElement>("src");
const from = byID<HTMLInputElement>("from");
const did = byID<HTMLInputElement>("did");
const head = byID<HTMLInputElement>("head");
const script = byID<HTMLInputElement>("script");
const preview = byID<HTMLSelectElement>("preview");
const badge = byID("badge");
const said = byID("said");
const code = byID("code");
const link = byID("link");

/** Writes an attribute, with whatever was typed as its value. */
function attribute(name: string, value: string): string {
  const escaped = value.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;");
  return value === "" ? "" : ` ${name}="${escaped}"`;
}

function write(): void {
  const named = src.value.trim() === "" && from.value.trim() !== "";
  const where = named ? attribute("from", from.value.trim()) : attribute("src", src.value.trim() || src.placeholder);
  const values = [where, attribute("did", did.value.trim() || (named ? did.placeholder : "")), attribute("head", head.value.trim())];
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
  const server = file ? "" : from.value.trim();
  const parts = [server ? `from=${server}` : `history=${URL.canParse(path, origin) ? new URL(path, origin).href : path}`];
  if (did.value.trim()) parts.push(`did=${did.value.trim()}`);
  if (head.value.trim()) parts.push(`head=${head.value.trim()}`);
  const query = parts.map((part) => part.replace(/[%&#+\s]/g, encodeURIComponent)).join("&");
  return `${new URL("load.html", document.baseURI).href}?${query}`;
}

function show(): void {
  whose = "";
  pin();
  badge.setAttribute("src", isOwn() ? own! : new URL(`samples/${preview.value}`, document.baseURI).href);
}

/** The address in memory of the visitor's own history. */
let own: string | undefined;

const isOwn = () => preview.value === "own";

/** The identity of the sample in the preview. */
let whose = "";

/** The visitor's own history is held to what was typed; a sample shows that a badge that is told whom to expect says less. */
function pin(): void {
  put("did", isOwn() || !did.value.trim() ? did.value.trim() : whose);
  put("head", isOwn() ? head.value.trim() : (preview.selectedOptions[0]!.dataset["head"] ?? ""));
}

/** Sets an attribute of the badge, or removes it where there is no value, which would be an error. */
function put(name: string, value: string): void {
  if (value) badge.setAttribute(name, value);
  else badge.removeAttribute(name);
}

/** Shows the badge of the visitor's own history. */
function showOwn(car: Blob): void {
  if (own) URL.revokeObjectURL(own);
  own = URL.createObjectURL(car);
  const option = byID<HTMLOptionElement>("own");
  option.hidden = option.disabled = false;
  preview.value = "own";
  show();
}

function say(words: string, kind = ""): void {
  said.className = `said ${kind}`;
  said.textContent = words;
}

let stop: AbortController | undefined;

/** Takes the visitor's own history, and fills in what it says. */
async function take(source: Source): Promise<void> {
  stop?.abort();
  const { signal } = (stop = new AbortController());
  say("Verifying");
  try {
    const checked = await check(items(source(), signal), unpinned, { signal });
    const car = await checked.bundle();
    if (signal.aborted) return;
    did.value = checked.report.did ?? "";
    head.value = checked.report.head ?? "";
    write();
    showOwn(car);
    say("");
  } catch (error) {
    if (signal.aborted) return;
    say(error instanceof VerifyError ? `${error.message}.` : `The page failed: ${String(error)}.`, "failed");
  }
}

badge.addEventListener("igor-lineage-report", ({ report }) => {
  whose = report.did ?? "";
  pin();
});
for (const field of [src, from, did, head, script]) field.addEventListener("input", write);
for (const field of [did, head]) field.addEventListener("input", pin);
preview.addEventListener("change", show);
receive(
  {
    given: (source) => void take(source),
    pasted(text) {
      const { address } = parseName(text);
      if (address) goTo(address);
    },
    over: (held) => (byID("let-go").hidden = !held),
  },
  { "pick-files": "files", "pick-folder": "folder" },
);

// From a verdict of the Verify page, with what it knows.
const known = new URLSearchParams(location.search);
for (const field of [src, from, did, head]) field.value = known.get(field.id) ?? "";
write();
show();
if (location.hash) askFor(Number(location.hash.slice(1)), showOwn);
