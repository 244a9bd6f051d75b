// One checkpoint, byte by byte. A change is examined and linked again with the
// rest of the history, and the verdict says what it did.

import type { Field, Inspection } from "../verify/inspect.ts";
import type { Report } from "../verify/report.ts";
import { byID, fill, h, mark, size } from "./dom.ts";
import { money, short } from "./format.ts";
import { hex, type Life } from "./life.ts";

/** Bytes that are shown at once. */
const pageSize = 1024;

/** Where the screen is narrow, a row has half as many bytes, each as large as a finger needs. */
const narrow = matchMedia("(max-width: 34rem)");

/** How many problems a verdict lists. */
const problemsShown = 4;

/** What the inspector asks the verifier. */
export interface Verifier {
  inspect(bytes: Uint8Array): Promise<Inspection>;
  /** Verifies the life with other bytes in the place of one checkpoint. */
  relink(row: number, bytes: Uint8Array): Promise<Report>;
}

export interface Inspector {
  element: HTMLElement;
  open(row: number): Promise<void>;
}

export function inspector(life: Life, report: Report, verifier: Verifier, onOpen: (row: number) => void): Inspector {
  let row = 0;
  let original = new Uint8Array();
  let bytes = new Uint8Array();
  let changes: { at: number; before: number }[] = [];
  let inspection: Inspection | undefined;
  let page = 0;
  let rowSize = 16;
  let cursor = 0;
  let nibble: number | undefined; // the first half of a byte that is being typed
  let turn = 0; // of the question to the verifier; answers to older ones are dropped

  const number = h("input", { type: "text", id: "row", inputmode: "numeric", autocomplete: "off" });
  const previous = h("button", { type: "button", class: "quiet", "aria-label": "Previous checkpoint" }, "←");
  const next = h("button", { type: "button", class: "quiet", "aria-label": "Next checkpoint" }, "→");
  const title = h("p", { class: "mono" });
  const verdictLine = h("div", { class: "verdict-line", role: "status" });
  const undo = h("button", { type: "button", class: "quiet" }, "Undo");
  const reset = h("button", { type: "button", class: "quiet" }, "Undo all");
  // The roles are said, because a narrow screen shows the rows in another way than as those of a table.
  const table = h("table", { class: "fields-table", role: "table" });
  const noFields = h("p", { class: "hint no-fields" }, "These bytes are no whole checkpoint, so they have no fields.");
  const grid = h("div", { class: "grid", role: "grid", "aria-label": "Bytes of the checkpoint. Arrow keys move, two hexadecimal digits change a byte." });
  // For those whose keyboard only comes with a field, as on a phone.
  const byteLabel = h("label", { for: "byte" });
  const byteField = h("input", { type: "text", id: "byte", maxlength: 2, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const pagerText = h("span", { class: "num", role: "status" });
  const pageBack = h("button", { type: "button", class: "quiet", "aria-label": "Earlier bytes" }, "←");
  const pageOn = h("button", { type: "button", class: "quiet", "aria-label": "Later bytes" }, "→");
  const state = h("div", { class: "state" });
  const panel = h(
    "div",
    { class: "panel inspector", hidden: true },
    h(
      "div",
      { class: "which" },
      h("div", {}, h("label", { for: "row" }, `Checkpoint, 1 to ${life.length.toLocaleString("en")}`), h("div", { class: "row" }, previous, number, next)),
      h("div", {}, title),
    ),
    verdictLine,
    h("div", { class: "bytes" }, h("div", {}, table, noFields), h("div", { class: "hex" }, h("div", { class: "pager" }, h("span", { class: "row" }, pagerText, pageBack, pageOn), h("span", { class: "row" }, byteLabel, byteField), h("span", { class: "row" }, undo, reset)), grid, state)),
  );
  const element = h(
    "section",
    { class: "section", "aria-labelledby": "inspector" },
    h("h2", { id: "inspector", tabindex: -1 }, "One checkpoint"),
    h(
      "p",
      { class: "hint" },
      "What every byte means. Choose one and type two hexadecimal digits. Your file stays as it is.",
    ),
    panel,
  );

  const fields = () => inspection?.fields ?? [];
  const fieldAt = (at: number) => fields().find(({ offset, size }) => at >= offset && at < offset + size);
  const hueOf = (at: number) => {
    const field = fieldAt(at);
    return !field || field.name === "state" ? 11 : fields().indexOf(field);
  };

  async function open(to: number): Promise<void> {
    const asked = ++turn;
    const read = await life.bytes(to);
    if (asked !== turn) return;
    row = to;
    original = read;
    bytes = read.slice();
    changes = [];
    page = 0;
    cursor = 0;
    nibble = undefined;
    number.value = String(row + 1);
    previous.disabled = row === 0;
    next.disabled = row === life.length - 1;
    title.textContent = life.title(row);
    await examine();
    onOpen(row);
  }

  async function examine(): Promise<void> {
    const asked = ++turn;
    const [now, then] = await Promise.all([
      verifier.inspect(bytes.slice()),
      changes.length > 0 ? verifier.relink(row, bytes.slice()) : report,
    ]);
    if (asked !== turn) return;
    inspection = now;
    showVerdict(now, then);
    showTable();
    showHex();
    showState();
    panel.hidden = false;
  }

  function showVerdict(now: Inspection, then: Report): void {
    const changed = changes.length > 0;
    verdictLine.className = `verdict-line ${then.verdict}`;
    const alone =
      now.signature === "valid"
        ? "Its signature is valid."
        : now.signature === "none"
          ? "It carries no signature."
          : "Its signature does not fit its content.";
    const words = h("div", {}, h("p", {}, h("b", {}, changed ? `With your change the history is ${then.verdict}. ` : `The history is ${then.verdict}. `), alone));
    if (changed && then.problems.length > 0) {
      const list = h("ul", {});
      for (const { code, name, tick, message } of then.problems.slice(0, problemsShown)) {
        const at = tick !== undefined ? ` at tick ${tick}` : name !== undefined ? ` in ${short(name)}` : "";
        list.append(h("li", {}, h("code", {}, code), `${at}: ${message}`));
      }
      if (then.problems.length > problemsShown) list.append(h("li", {}, `and ${then.problems.length - problemsShown} more`));
      words.append(list);
    }
    verdictLine.replaceChildren(mark(then.verdict), words);
    undo.disabled = reset.disabled = !changed;
  }

  function showTable(): void {
    const body = h("tbody", { role: "rowgroup" });
    fields().forEach((field, index) => {
      const hue = field.name === "state" ? 11 : index;
      const jump = h("button", { type: "button" }, field.name);
      jump.addEventListener("click", () => focusByte(field.offset));
      const line = h(
        "tr",
        { class: `f${hue}`, role: "row" },
        h("td", { class: "num offset", role: "cell" }, String(field.offset)),
        h("td", { class: "num size", role: "cell" }, String(field.size)),
        h("th", { scope: "row", role: "rowheader" }, jump),
        h("td", { class: "value", role: "cell" }, ...describe(field, bytes)),
      );
      line.addEventListener("pointerenter", () => light(field));
      line.addEventListener("pointerleave", () => light(undefined));
      line.addEventListener("focusin", () => light(field));
      body.append(line);
    });
    const column = (text: string, kind = "") => h("th", { scope: "col", role: "columnheader", class: kind || undefined }, text);
    table.replaceChildren(
      h("caption", { class: "visually-hidden" }, "Offset table"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, column("Offset"), column("Size", "size"), column("Field"), column("Value"))),
      body,
    );
    table.hidden = fields().length === 0;
    noFields.hidden = !table.hidden;
  }

  /** Marks a field in the table and in the bytes. */
  function light(field: Field | undefined): void {
    const lit = (at: number) => field !== undefined && at >= field.offset && at < field.offset + field.size;
    for (const cell of grid.querySelectorAll<HTMLElement>(".byte")) cell.classList.toggle("lit", lit(Number(cell.dataset["at"])));
    fields().forEach((f, i) => table.tBodies[0]?.rows[i]?.classList.toggle("lit", f === field));
  }

  function showHex(): void {
    rowSize = narrow.matches ? 8 : 16;
    const from = page * pageSize;
    const to = Math.min(from + pageSize, bytes.length);
    const several = bytes.length > pageSize;
    pagerText.textContent = several ? `Bytes ${from.toLocaleString("en")} to ${(to - 1).toLocaleString("en")} of ${bytes.length.toLocaleString("en")}` : size(bytes.length);
    pageBack.hidden = pageOn.hidden = !several;
    pageBack.disabled = from === 0;
    pageOn.disabled = to === bytes.length;
    const hadFocus = grid.contains(document.activeElement);
    const lines: HTMLElement[] = [];
    for (let line = from; line < to; line += rowSize) {
      const element = h("div", { class: "line", role: "row" }, h("span", { class: "offset", role: "rowheader" }, line.toString(16).padStart(4, "0")));
      let ascii = "";
      for (let at = line; at < Math.min(line + rowSize, to); at++) {
        const byte = bytes[at]!;
        const changed = byte !== original[at];
        element.append(
          h(
            "span",
            { class: `byte f${hueOf(at)}${changed ? " changed" : ""}`, role: "gridcell", "data-at": at, tabindex: at === cursor ? 0 : -1 },
            byte.toString(16).padStart(2, "0"),
          ),
        );
        ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
      }
      element.dataset["ascii"] = ascii;
      lines.push(element);
    }
    grid.replaceChildren(...lines);
    showByte();
    if (hadFocus) cellAt(cursor)?.focus({ preventScroll: true });
  }

  /** Says which byte has the cursor, and of what field it is. */
  function showByte(): void {
    const field = fieldAt(cursor);
    byteLabel.textContent = `Byte ${cursor.toLocaleString("en")}${field ? `, ${field.name}` : ""}`;
    if (document.activeElement !== byteField) byteField.value = hex(bytes.subarray(cursor, cursor + 1));
    byteField.disabled = bytes.length === 0;
  }

  const cellAt = (at: number) => grid.querySelector<HTMLElement>(`[data-at="${at}"]`);

  function focusByte(at: number): void {
    at = Math.min(Math.max(at, 0), bytes.length - 1);
    nibble = undefined;
    cellAt(cursor)?.setAttribute("tabindex", "-1");
    cursor = at;
    if (Math.floor(at / pageSize) !== page) {
      page = Math.floor(at / pageSize);
      showHex();
    }
    const cell = cellAt(at);
    cell?.setAttribute("tabindex", "0");
    cell?.focus();
    light(fieldAt(at));
    showByte();
  }

  function change(at: number, value: number): void {
    if (bytes[at] === value) return;
    changes.push({ at, before: bytes[at]! });
    bytes[at] = value;
    changed();
  }

  function takeBack(): void {
    const last = changes.pop();
    if (!last) return;
    bytes[last.at] = last.before;
    changed();
  }

  /** Shows the bytes as they are now. Where each has its own value again, nothing is changed. */
  function changed(): void {
    if (changes.every(({ at }) => bytes[at] === original[at])) changes = [];
    showHex();
    void examine();
  }

  grid.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      takeBack();
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moves: Record<string, number> = {
      ArrowRight: cursor + 1,
      ArrowLeft: cursor - 1,
      ArrowDown: cursor + rowSize,
      ArrowUp: cursor - rowSize,
      Home: cursor - (cursor % rowSize),
      End: cursor - (cursor % rowSize) + rowSize - 1,
      PageUp: cursor - pageSize,
      PageDown: cursor + pageSize,
    };
    const to = moves[event.key];
    if (to !== undefined) {
      event.preventDefault();
      focusByte(to);
    } else if (/^[0-9a-f]$/i.test(event.key)) {
      event.preventDefault();
      const digit = parseInt(event.key, 16);
      if (nibble === undefined) {
        nibble = digit;
        const cell = cellAt(cursor);
        if (cell) cell.textContent = `${digit.toString(16)}_`;
      } else {
        const value = nibble * 16 + digit;
        const at = cursor;
        nibble = undefined;
        change(at, value);
        showHex();
        focusByte(at + 1);
      }
    } else if (event.key === "Escape" && nibble !== undefined) {
      nibble = undefined;
      showHex();
    }
  });
  grid.addEventListener("click", (event) => {
    const at = (event.target as HTMLElement).dataset["at"];
    if (at !== undefined) focusByte(Number(at));
  });
  grid.addEventListener("pointerover", (event) => {
    const at = (event.target as HTMLElement).dataset["at"];
    if (at !== undefined) light(fieldAt(Number(at)));
  });
  grid.addEventListener("pointerleave", () => light(undefined));
  byteField.addEventListener("input", () => {
    if (/^[0-9a-f]{2}$/i.test(byteField.value)) change(cursor, parseInt(byteField.value, 16));
  });
  byteField.addEventListener("focus", () => {
    byteField.select();
    light(fieldAt(cursor));
  });
  byteField.addEventListener("blur", showByte);
  undo.addEventListener("click", takeBack);
  reset.addEventListener("click", () => {
    bytes = original.slice();
    changes = [];
    showHex();
    void examine();
  });
  narrow.addEventListener("change", function resized() {
    if (!panel.isConnected) narrow.removeEventListener("change", resized);
    else if (inspection) showHex();
  });
  const turnPage = (by: number) => {
    page += by;
    cursor = page * pageSize;
    showHex();
  };
  pageBack.addEventListener("click", () => turnPage(-1));
  pageOn.addEventListener("click", () => turnPage(1));
  previous.addEventListener("click", () => void open(row - 1));
  next.addEventListener("click", () => void open(row + 1));
  number.addEventListener("change", () => {
    const wanted = Math.round(Number(number.value));
    if (wanted >= 1 && wanted <= life.length) void open(wanted - 1);
    else number.value = String(row + 1);
  });

  function showState(): void {
    const field = fields().find(({ name }) => name === "state");
    state.hidden = field === undefined;
    if (!field) return;
    const preview = bytes.subarray(field.offset, field.offset + Math.min(field.size, 4096));
    const text = readable(preview);
    fill(
      state,
      h("h3", {}, `State, ${size(field.size)}`),
      field.size === 0
        ? h("p", { class: "hint" }, "It is empty.")
        : text === undefined
          ? h("p", { class: "hint" }, "It is not text. What it means is known to the agent alone.")
          : h("pre", { tabindex: 0, "aria-label": "The state as text" }, text),
      field.size > preview.length && text !== undefined && h("p", { class: "hint" }, `Its first ${size(preview.length)}.`),
    );
  }

  return { element, open };
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

/** A field's value and what it is. */
function describe(field: Field, bytes: Uint8Array): (HTMLElement | string)[] {
  const note = (text: string) => h("span", { class: "note" }, text);
  const value = field.value;
  switch (field.name) {
    case "budget":
    case "pricePerSecond":
      return [h("span", { class: "num" }, money(BigInt(value!))), note(`${value} ${field.note}`)];
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
