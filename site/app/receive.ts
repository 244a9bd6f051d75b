// Takes what a page is given: by drop on any place of it, by paste, or by a choice of files.

import { filesLabel, filesSize, fromFiles, fromTransfer, transferLabel, transferSize, type Found } from "./collect.ts";
import { byID } from "./dom.ts";
import type { Address } from "./link.ts";
import type { Told } from "./named.ts";

/** What is to be verified, and how many bytes that is, where it is known. */
export interface Source {
  (): AsyncIterable<Found>;
  total?: number | undefined;
  /** Files that were given by themselves, not in a folder. */
  loose?: readonly File[];
  /** What the visitor calls it. */
  label?: string;
  /** Where it is loaded from, if the visitor's link names that. */
  address?: Address;
  /** What the servers said of it that it came from. */
  told?: Told;
  /** The same in another way, where what came could not be read. */
  again?: ((why: string) => Source) | undefined;
}

/** What a page does with what it is given. */
export interface Receiver {
  given(source: Source): void;
  /** Is told a text that was pasted where no text is written. */
  pasted?(text: string): void;
  /** Shows whether something is held over the page, which would be given if it were let go. */
  over(held: boolean): void;
}

/** Lets a page be given files, and makes its buttons, by their ids, open the inputs. */
export function receive({ given, pasted, over }: Receiver, choose: Readonly<Record<string, string>>): void {
  let depth = 0; // of elements inside the page that are dragged over
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const transferred = (transfer: DataTransfer) => given(Object.assign(fromTransfer(transfer), { total: transferSize(transfer), label: transferLabel(transfer), loose: [...transfer.files] }));
  const ended = () => {
    depth = 0;
    over(false);
  };

  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth++;
    over(true);
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event) && --depth <= 0) ended();
  });
  // While something is dragged, no pointer moves: then what ended it was not told.
  addEventListener("pointermove", () => {
    if (depth > 0) ended();
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer!.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    ended();
    transferred(event.dataTransfer!);
  });
  addEventListener("paste", (event) => {
    const { clipboardData, target } = event;
    if (clipboardData?.types.includes("Files")) {
      event.preventDefault();
      transferred(clipboardData);
    } else if (clipboardData && !(target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement)) {
      pasted?.(clipboardData.getData("text/plain").trim());
    }
  });

  for (const [button, field] of Object.entries(choose)) {
    const input = byID<HTMLInputElement>(field);
    byID(button).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (!input.files?.length) return;
      const source = Object.assign(fromFiles(input.files), { total: filesSize(input.files), label: filesLabel(input.files), loose: [...input.files].filter(({ webkitRelativePath }) => !webkitRelativePath) });
      input.value = ""; // so that the same choice counts again
      given(source);
    });
  }
}
