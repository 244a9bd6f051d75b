// The bytes of one checkpoint, to be looked at and changed.

import type { Field } from "../verify/inspect.ts";
import { h, size, whole } from "./dom.ts";
import { hex } from "../verify/hex.ts";

/** Bytes that are shown at once. */
const pageSize = 1024;

/** Where the screen is narrow, a row has half as many bytes, each as large as a finger needs. */
const narrow = matchMedia("(max-width: 34rem)");

/** The bytes that are shown, as they were and as they are now. */
export class Edited {
  readonly original: Uint8Array<ArrayBuffer>;
  bytes: Uint8Array<ArrayBuffer>;
  #changes: { at: number; before: number }[] = [];

  constructor(original: Uint8Array<ArrayBuffer>) {
    this.original = original;
    this.bytes = original.slice();
  }

  /** Whether something is not as it was. A byte that has its own value again is no change. */
  get isChanged(): boolean {
    return this.#changes.length > 0;
  }

  /** Changes a byte. Returns whether that made a difference. */
  change(at: number, value: number): boolean {
    if (this.bytes[at] === value) return false;
    this.#changes.push({ at, before: this.bytes[at]! });
    this.bytes[at] = value;
    this.#settle();
    return true;
  }

  /** Takes the last change back, if there is one. */
  undo(): boolean {
    const last = this.#changes.pop();
    if (!last) return false;
    this.bytes[last.at] = last.before;
    this.#settle();
    return true;
  }

  reset(): void {
    this.bytes = this.original.slice();
    this.#changes = [];
  }

  #settle(): void {
    if (this.#changes.every(({ at }) => this.bytes[at] === this.original[at])) this.#changes = [];
  }
}

/** What the view asks of the inspector. */
export interface Owner {
  /** The fields of the bytes as they are now. */
  fields(): readonly Field[];
  /** Is told that a byte was changed. */
  changed(): void;
  /** Marks a field wherever it is shown. */
  light(field: Field | undefined): void;
}

/** The colour of a field, by its number. That of the state is always the same. */
export function hueOf(field: Field | undefined, fields: readonly Field[]): number {
  return !field || field.name === "state" ? 11 : fields.indexOf(field);
}

export class HexView {
  readonly element: HTMLElement;
  readonly #owner: Owner;
  readonly #grid = h("div", { class: "grid", role: "grid", "aria-label": "Bytes of the checkpoint. Arrow keys move, two hexadecimal digits change a byte." });
  // For those whose keyboard only comes with a field, as on a phone.
  readonly #label = h("label", { for: "byte" });
  readonly #field = h("input", { type: "text", id: "byte", maxlength: 2, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  readonly #range = h("span", { class: "num", role: "status" });
  readonly #back = h("button", { type: "button", class: "quiet", "aria-label": "Earlier bytes" }, "←");
  readonly #on = h("button", { type: "button", class: "quiet", "aria-label": "Later bytes" }, "→");
  readonly #undo = h("button", { type: "button", class: "quiet" }, "Undo");
  readonly #reset = h("button", { type: "button", class: "quiet" }, "Undo all");
  #edited = new Edited(new Uint8Array());
  #page = 0;
  #rowSize = 16;
  #cursor = 0;
  #nibble: number | undefined; // the first half of a byte that is being typed

  /** State is what is shown below the bytes. */
  constructor(owner: Owner, state: HTMLElement) {
    this.#owner = owner;
    const row = (...children: HTMLElement[]) => h("span", { class: "row" }, ...children);
    const pager = h("div", { class: "pager" }, row(this.#range, this.#back, this.#on), row(this.#label, this.#field), row(this.#undo, this.#reset));
    this.element = h("div", { class: "hex" }, pager, this.#grid, state);
    this.#listen();
  }

  /** Shows other bytes, from their beginning. */
  open(edited: Edited): void {
    this.#edited = edited;
    this.#page = this.#cursor = 0;
    this.#nibble = undefined;
  }

  /** Shows the bytes as they are now. */
  show(): void {
    const { bytes } = this.#edited;
    this.#rowSize = narrow.matches ? 8 : 16;
    const from = this.#page * pageSize;
    const to = Math.min(from + pageSize, bytes.length);
    const several = bytes.length > pageSize;
    this.#range.textContent = several ? `Bytes ${whole(from)} to ${whole(to - 1)} of ${whole(bytes.length)}` : size(bytes.length);
    this.#back.hidden = this.#on.hidden = !several;
    this.#back.disabled = from === 0;
    this.#on.disabled = to === bytes.length;
    this.#undo.disabled = this.#reset.disabled = !this.#edited.isChanged;
    const hadFocus = this.#grid.contains(document.activeElement);
    const lines: HTMLElement[] = [];
    for (let at = from; at < to; at += this.#rowSize) lines.push(this.#line(at, Math.min(at + this.#rowSize, to)));
    this.#grid.replaceChildren(...lines);
    this.#showByte();
    if (hadFocus) this.#cell(this.#cursor)?.focus({ preventScroll: true });
  }

  /** Marks the bytes of a field. */
  light(field: Field | undefined): void {
    const lit = (at: number) => field !== undefined && at >= field.offset && at < field.offset + field.size;
    for (const cell of this.#grid.querySelectorAll<HTMLElement>(".byte")) cell.classList.toggle("lit", lit(Number(cell.dataset["at"])));
  }

  /** Moves the keyboard to a byte. */
  focus(at: number): void {
    at = Math.min(Math.max(at, 0), this.#edited.bytes.length - 1);
    this.#nibble = undefined;
    this.#cell(this.#cursor)?.setAttribute("tabindex", "-1");
    this.#cursor = at;
    if (Math.floor(at / pageSize) !== this.#page) {
      this.#page = Math.floor(at / pageSize);
      this.show();
    }
    const cell = this.#cell(at);
    cell?.setAttribute("tabindex", "0");
    cell?.focus();
    this.#owner.light(this.#fieldAt(at));
    this.#showByte();
  }

  #line(from: number, to: number): HTMLElement {
    const { bytes, original } = this.#edited;
    const fields = this.#owner.fields();
    const line = h("div", { class: "line", role: "row" }, h("span", { class: "offset", role: "rowheader" }, from.toString(16).padStart(4, "0")));
    let ascii = "";
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      const changed = byte === original[at] ? "" : " changed";
      const name = `byte f${hueOf(this.#fieldAt(at), fields)}${changed}`;
      line.append(h("span", { class: name, role: "gridcell", "data-at": at, tabindex: at === this.#cursor ? 0 : -1 }, byte.toString(16).padStart(2, "0")));
      ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
    }
    line.dataset["ascii"] = ascii;
    return line;
  }

  #fieldAt(at: number): Field | undefined {
    return this.#owner.fields().find(({ offset, size }) => at >= offset && at < offset + size);
  }

  #cell(at: number): HTMLElement | null {
    return this.#grid.querySelector<HTMLElement>(`[data-at="${at}"]`);
  }

  /** Says which byte has the cursor, and of what field it is. */
  #showByte(): void {
    const field = this.#fieldAt(this.#cursor);
    const { bytes } = this.#edited;
    this.#label.textContent = `Byte ${whole(this.#cursor)}${field ? `, ${field.name}` : ""}`;
    if (document.activeElement !== this.#field) this.#field.value = hex(bytes.subarray(this.#cursor, this.#cursor + 1));
    this.#field.disabled = bytes.length === 0;
  }

  #changed(different: boolean): void {
    if (!different) return;
    this.show();
    this.#owner.changed();
  }

  #turn(by: number): void {
    this.#page += by;
    this.#cursor = this.#page * pageSize;
    this.show();
  }

  #listen(): void {
    const at = (event: Event) => (event.target as HTMLElement).dataset["at"];
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    this.#grid.addEventListener("click", (event) => {
      const clicked = at(event);
      if (clicked !== undefined) this.focus(Number(clicked));
    });
    this.#grid.addEventListener("pointerover", (event) => {
      const over = at(event);
      if (over !== undefined) this.#owner.light(this.#fieldAt(Number(over)));
    });
    this.#grid.addEventListener("pointerleave", () => this.#owner.light(undefined));
    this.#field.addEventListener("input", () => {
      if (/^[0-9a-f]{2}$/i.test(this.#field.value)) this.#changed(this.#edited.change(this.#cursor, parseInt(this.#field.value, 16)));
    });
    this.#field.addEventListener("focus", () => {
      this.#field.select();
      this.#owner.light(this.#fieldAt(this.#cursor));
    });
    this.#field.addEventListener("blur", () => this.#showByte());
    this.#undo.addEventListener("click", () => this.#changed(this.#edited.undo()));
    this.#reset.addEventListener("click", () => {
      this.#edited.reset();
      this.#changed(true);
    });
    this.#back.addEventListener("click", () => this.#turn(-1));
    this.#on.addEventListener("click", () => this.#turn(1));
    const resized = () => {
      if (!this.element.isConnected) narrow.removeEventListener("change", resized);
      else this.show();
    };
    narrow.addEventListener("change", resized);
  }

  #key(event: KeyboardEvent): void {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      this.#changed(this.#edited.undo());
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const [cursor, rowSize] = [this.#cursor, this.#rowSize];
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
      this.focus(to);
    } else if (/^[0-9a-f]$/i.test(event.key)) {
      event.preventDefault();
      this.#digit(parseInt(event.key, 16));
    } else if (event.key === "Escape" && this.#nibble !== undefined) {
      this.#nibble = undefined;
      this.show();
    }
  }

  /** Takes half a byte. */
  #digit(digit: number): void {
    const at = this.#cursor;
    if (this.#nibble === undefined) {
      this.#nibble = digit;
      const cell = this.#cell(at);
      if (cell) cell.textContent = `${digit.toString(16)}_`;
      return;
    }
    const value = this.#nibble * 16 + digit;
    this.#nibble = undefined;
    this.#changed(this.#edited.change(at, value));
    this.show();
    this.focus(at + 1);
  }
}
