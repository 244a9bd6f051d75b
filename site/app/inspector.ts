// One checkpoint, byte by byte. A change is examined and linked again with the
// rest of the history, and the verdict says what it did.

import type { Field, Inspection } from "../verify/inspect.ts";
import type { Report } from "../verify/report.ts";
import type { Checked } from "./check.ts";
import { hex } from "../verify/hex.ts";
import { byID, copyButton, fill, foreign, h, mark, size, visible, whole } from "./dom.ts";
import { money, short } from "./format.ts";
import { Edited, HexView, hueOf } from "./hexview.ts";
import type { Life } from "./life.ts";
import { lookOf } from "./verdict.ts";

/** How many problems a verdict lists. */
const problemsShown = 4;

/** How much of a state is shown as text. */
const previewSize = 4096;

export interface Inspector {
  element: HTMLElement;
  open(row: number): Promise<void>;
}

/** OnOpen is told what is opened, and failed what kept it from being opened. */
export function inspector(done: Checked, onOpen: (row: number) => void, failed: (error: unknown) => void): Inspector {
  return new View(done, onOpen, failed);
}

class View implements Inspector {
  readonly element: HTMLElement;
  readonly #done: Checked;
  readonly #onOpen: (row: number) => void;
  readonly #failed: (error: unknown) => void;
  readonly #chooser: Chooser;
  readonly #verdict = h("div", { class: "verdict-line", role: "status" });
  readonly #table: FieldsTable;
  readonly #hex: HexView;
  readonly #state = h("div", { class: "state" });
  readonly #panel: HTMLElement;
  #row = 0;
  #edited = new Edited(new Uint8Array());
  #inspection: Inspection | undefined;
  #turn = 0; // of the question to the verifier; answers to older ones are dropped

  constructor(done: Checked, onOpen: (row: number) => void, failed: (error: unknown) => void) {
    this.#done = done;
    this.#onOpen = onOpen;
    this.#failed = failed;
    this.#chooser = new Chooser(done.life, (row) => void this.open(row));
    const owner = {
      fields: () => this.#inspection?.fields ?? [],
      changed: () => void this.#examine().catch(failed),
      light: (field: Field | undefined) => this.#light(field),
    };
    this.#hex = new HexView(owner, this.#state);
    this.#table = new FieldsTable((field) => this.#hex.focus(field.offset), owner.light);
    this.#panel = h(
      "div",
      { class: "panel inspector", hidden: true },
      this.#chooser.element,
      this.#verdict,
      h("div", { class: "bytes" }, this.#table.element, this.#hex.element),
    );
    this.element = h(
      "section",
      { class: "section", "aria-labelledby": "inspector" },
      h("h2", { id: "inspector", tabindex: -1 }, "One checkpoint"),
      h("p", { class: "hint" }, "What every byte means. Choose one and type two hexadecimal digits. Your file stays as it is."),
      this.#panel,
    );
  }

  async open(row: number): Promise<void> {
    await this.#open(row).catch(this.#failed);
  }

  async #open(row: number): Promise<void> {
    const asked = ++this.#turn;
    const read = await this.#done.life.bytes(row);
    if (asked !== this.#turn) return;
    this.#row = row;
    this.#edited = new Edited(read);
    this.#hex.open(this.#edited);
    this.#chooser.show(row);
    await this.#examine();
    this.#onOpen(row);
  }

  async #examine(): Promise<void> {
    const asked = ++this.#turn;
    const { bytes, isChanged } = this.#edited;
    const [now, then] = await Promise.all([
      this.#done.inspect(bytes.slice()),
      isChanged ? this.#done.relink(this.#row, bytes.slice()) : this.#done.report,
    ]);
    if (asked !== this.#turn) return;
    this.#inspection = now;
    this.#showVerdict(now, then);
    this.#table.show(now.fields, this.#edited.bytes);
    this.#hex.show();
    showState(this.#state, now.fields, this.#edited.bytes);
    this.#panel.hidden = false;
  }

  #light(field: Field | undefined): void {
    this.#hex.light(field);
    this.#table.light(field);
  }

  #showVerdict(now: Inspection, then: Report): void {
    const changed = this.#edited.isChanged;
    const look = lookOf(then, this.#done.pins);
    this.#verdict.className = `verdict-line ${look}`;
    const words = h("div", {}, h("p", {}, h("b", {}, changed ? `With your change the history is ${then.verdict}. ` : `The history is ${then.verdict}. `), signatures[now.signature]));
    if (changed && then.problems.length > 0) {
      const list = h("ul", {});
      for (const { code, name, tick, message } of then.problems.slice(0, problemsShown)) {
        const at = tick !== undefined ? ` at tick ${whole(tick)}` : name !== undefined ? ` in ${visible(short(name))}` : "";
        list.append(h("li", {}, h("code", {}, code), foreign(`${at}: ${message}`)));
      }
      if (then.problems.length > problemsShown) list.append(h("li", {}, `and ${whole(then.problems.length - problemsShown)} more`));
      words.append(list);
    }
    this.#verdict.replaceChildren(mark(look), words);
  }
}

const signatures: Readonly<Record<Inspection["signature"], string>> = {
  valid: "Its signature is valid.",
  none: "It carries no signature.",
  invalid: "Its signature does not fit its content.",
};

/** Says which checkpoint is shown, and leads to others: the one beside it, or one by its tick, CID or name. */
class Chooser {
  readonly element: HTMLElement;
  readonly #life: Life;
  readonly #open: (row: number) => void;
  readonly #number = h("input", { type: "text", id: "row", inputmode: "numeric", autocomplete: "off" });
  readonly #previous = h("button", { type: "button", class: "quiet", "aria-label": "Previous checkpoint" }, "←");
  readonly #next = h("button", { type: "button", class: "quiet", "aria-label": "Next checkpoint" }, "→");
  readonly #goal = h("input", { type: "text", id: "goal", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": "goal-said" });
  readonly #said = h("p", { id: "goal-said", class: "hint", role: "status" });
  readonly #title = h("p", { class: "mono" });
  #row = 0;

  constructor(life: Life, open: (row: number) => void) {
    this.#life = life;
    this.#open = open;
    this.#previous.addEventListener("click", () => open(this.#row - 1));
    this.#next.addEventListener("click", () => open(this.#row + 1));
    this.#number.addEventListener("change", () => {
      const wanted = Math.round(Number(this.#number.value));
      if (wanted >= 1 && wanted <= life.length) open(wanted - 1);
      else this.#number.value = String(this.#row + 1);
    });
    const go = h("button", { type: "button", class: "quiet" }, "Go");
    go.addEventListener("click", () => this.#go());
    this.#goal.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") this.#go();
    });
    this.element = h(
      "div",
      { class: "which" },
      h("div", {}, h("label", { for: "row" }, `Checkpoint, 1 to ${whole(life.length)}`), h("div", { class: "row" }, this.#previous, this.#number, this.#next)),
      h("div", { class: "goal" }, h("label", { for: "goal" }, "Go to a tick, a CID or a name"), h("div", { class: "row" }, this.#goal, go)),
      this.#said,
      h("div", { class: "title" }, this.#title, copyButton(() => life.title(this.#row), "the name"), copyButton(() => life.cid(this.#row), "the CID", "Copy CID")),
    );
  }

  show(row: number): void {
    this.#row = row;
    this.#number.value = String(row + 1);
    this.#previous.disabled = row === 0;
    this.#next.disabled = row === this.#life.length - 1;
    fill(this.#title, foreign(this.#life.title(row)));
    this.#said.textContent = "";
  }

  #go(): void {
    const goal = this.#goal.value.trim();
    if (goal === "") return;
    const digits = goal.replaceAll(",", "");
    const named = this.#life.find(goal);
    const row = named ?? (/^[0-9]{1,20}$/.test(digits) ? this.#life.atTick(BigInt(digits)) : undefined);
    if (row === undefined) {
      this.#said.textContent = "There is no such checkpoint in this history.";
      return;
    }
    this.#open(row);
    if (named === undefined && this.#life.tick(row) !== BigInt(digits)) {
      // Said when what is opened has been shown, which takes the words away.
      setTimeout(() => (this.#said.textContent = `There is no tick ${whole(digits)}; the next one is ${whole(this.#life.tick(row))}.`), 100);
    }
  }
}

/** The table of a checkpoint's fields, with their values. */
class FieldsTable {
  readonly element: HTMLElement;
  readonly #jump: (field: Field) => void;
  readonly #light: (field: Field | undefined) => void;
  // The roles are said, because a narrow screen shows the rows in another way than as those of a table.
  readonly #table = h("table", { class: "fields-table", role: "table" });
  readonly #none = h("p", { class: "hint no-fields" }, "These bytes are no whole checkpoint, so they have no fields.");
  #fields: readonly Field[] = [];

  constructor(jump: (field: Field) => void, light: (field: Field | undefined) => void) {
    this.#jump = jump;
    this.#light = light;
    this.element = h("div", {}, this.#table, this.#none);
  }

  show(fields: readonly Field[], bytes: Uint8Array): void {
    this.#fields = fields;
    const body = h("tbody", { role: "rowgroup" }, ...fields.map((field) => this.#line(field, bytes)));
    const column = (text: string, kind = "") => h("th", { scope: "col", role: "columnheader", class: kind || undefined }, text);
    this.#table.replaceChildren(
      h("caption", { class: "visually-hidden" }, "Offset table"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, column("Offset"), column("Size", "size"), column("Field"), column("Value"))),
      body,
    );
    this.#table.hidden = fields.length === 0;
    this.#none.hidden = !this.#table.hidden;
  }

  light(field: Field | undefined): void {
    this.#fields.forEach((f, i) => this.#table.tBodies[0]?.rows[i]?.classList.toggle("lit", f === field));
  }

  #line(field: Field, bytes: Uint8Array): HTMLElement {
    const jump = h("button", { type: "button", click: () => this.#jump(field) }, field.name);
    const value = plainValue(field, bytes);
    const line = h(
      "tr",
      { class: `f${hueOf(field, this.#fields)}`, role: "row" },
      h("td", { class: "num offset", role: "cell" }, whole(field.offset)),
      h("td", { class: "num size", role: "cell" }, whole(field.size)),
      h("th", { scope: "row", role: "rowheader" }, jump),
      h("td", { class: "value", role: "cell" }, value && copyButton(() => value, field.name), ...describe(field, bytes)),
    );
    line.addEventListener("pointerenter", () => this.#light(field));
    line.addEventListener("pointerleave", () => this.#light(undefined));
    line.addEventListener("focusin", () => this.#light(field));
    return line;
  }
}

function showState(element: HTMLElement, fields: readonly Field[], bytes: Uint8Array): void {
  const field = fields.find(({ name }) => name === "state");
  element.hidden = field === undefined;
  if (!field) return;
  const preview = bytes.subarray(field.offset, field.offset + Math.min(field.size, previewSize));
  const text = readable(preview);
  const all = () => new TextDecoder().decode(bytes.subarray(field.offset, field.offset + field.size));
  fill(
    element,
    h("h3", {}, `State, ${size(field.size)}`, text !== undefined && field.size > 0 && copyButton(all, "the state")),
    field.size === 0
      ? h("p", { class: "hint" }, "It is empty.")
      : text === undefined
        ? h("p", { class: "hint" }, "It is not text. What it means is known to the agent alone.")
        : h("pre", { tabindex: 0, "aria-label": "The state as text" }, foreign(text, "\n\t\r")),
    field.size > preview.length && text !== undefined && h("p", { class: "hint" }, `Its first ${size(preview.length)}.`),
  );
}

/** Returns bytes as text, if they are. */
function readable(bytes: Uint8Array): string | undefined {
  // The preview may end inside a character.
  for (let cut = 0; cut < 4; cut++) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, bytes.length - cut));
      return /[\0-\x08\x0e-\x1f\x7f]/.test(text) ? undefined : text;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** A field's value as it is copied: exact, without what makes it easier to read. */
function plainValue(field: Field, bytes: Uint8Array): string | undefined {
  if (field.name === "signature") return hex(bytes.subarray(field.offset, field.offset + field.size));
  return field.name === "state" ? undefined : field.value;
}

/** A field's value and what it is. */
function describe(field: Field, bytes: Uint8Array): (HTMLElement | string)[] {
  const note = (text: string) => h("span", { class: "note" }, text);
  const value = field.value;
  switch (field.name) {
    case "budget":
    case "pricePerSecond":
      return [h("span", { class: "num" }, money(BigInt(value!))), note(`${whole(value!)} ${field.note}`)];
    case "tickNumber":
      return [h("span", { class: "num" }, whole(value!)), note(field.note)];
    case "version":
      return [`0x0${Number(value).toString(16)}`, note(field.note)];
    case "leaseExpiry": {
      if (value === "0") return ["0", note(field.note)];
      const date = new Date(Number(BigInt(value!) / 1_000_000n));
      return [value!, note(Number.isNaN(date.getTime()) ? field.note : `${date.toISOString()}; ${field.note}`)];
    }
    case "state":
      return [size(field.size), note(field.note)];
    case "signature":
      return [h("code", { class: "mono" }, hex(bytes.subarray(field.offset, field.offset + field.size))), note(field.note)];
  }
  return [field.type === "bytes" ? h("code", { class: "mono" }, value ?? "") : h("span", { class: "num" }, value ?? ""), note(field.note)];
}

/** Brings the inspector into view, and the keyboard to it. */
export function goToInspector(): void {
  const heading = byID("inspector");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  heading.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  heading.focus({ preventScroll: true });
}
