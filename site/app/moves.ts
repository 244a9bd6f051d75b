// Who ran the agent: the records of its moves from node to node, which lie with its history.

import type { HandOver, Report } from "../verify/report.ts";
import { copyButton, count, h, mark, whole } from "./dom.ts";
import { short } from "./format.ts";

/** So many are shown at first, and so many more at a time. */
const first = 12;
const more = 50;

/** Why a record does not count, in words. */
const wrong: Readonly<Record<NonNullable<HandOver["problem"]>, string>> = {
  "weak-key": "a key in it is one for which anybody can make signatures",
  "same-node": "it goes from a node to itself",
  "bad-countersignature": "the node that is to have taken the agent did not sign it",
  "bad-signature": "the agent’s key did not sign it",
  "other-life": "it is of a life with another genesis",
  "unknown-head": "the checkpoint that it was made at was not given",
  conflict: "the agent’s key signed another hand-over in its place: evidence that it was given away twice",
  order: "an earlier hand-over was made at a later checkpoint",
};

/** The section about hand-overs. Open is called with the checkpoint, a CID, that the visitor wants to see. */
export function movesSection({ handovers = [], notLookedAt = [] }: Report, open: (head: string) => void): HTMLElement | undefined {
  const unread = notLookedAt.find(({ kind }) => kind === "handovers");
  if (handovers.length === 0 && !unread) return undefined;
  const good = handovers.filter(({ problem }) => problem === undefined);
  const names = new Map<string, string>();
  for (const { from, to } of good) for (const did of [from, to]) if (!names.has(did)) names.set(did, letter(names.size));
  const list = h("ol", { class: "moves" });
  const button = h("button", { type: "button", class: "more" });
  let shown = 0;
  const show = () => {
    const last = Math.min(shown + (shown > 0 ? more : first), handovers.length);
    for (; shown < last; shown++) list.append(item(handovers[shown]!, names, open, gapBefore(handovers, shown)));
    const left = handovers.length - shown;
    button.hidden = left === 0;
    button.textContent = `Show ${whole(Math.min(left, more))} more of ${whole(left)}`;
  };
  button.addEventListener("click", show);
  show();
  const bad = handovers.length - good.length;
  const who = names.size === 0 ? undefined : count(names.size, "node");
  return h(
    "section",
    { class: "section moves", "aria-labelledby": "moves" },
    h("h2", { id: "moves" }, "Who ran it"),
    handovers.length > 0 &&
      h(
        "p",
        { class: "hint num" },
        good.length > 0 ? `${count(good.length, "hand-over")} between ${who}: the node that took the agent signed each, and the agent’s key. ` : "No record of a hand-over counts. ",
        "They change no verdict, and do not show that a node kept no copy of the key, or that there were no others.",
      ),
    bad > 0 && h("p", { class: "wrong num" }, mark("invalid"), `${count(bad, "record")} ${bad === 1 ? "does" : "do"} not count.`),
    unread && h("p", { class: "wrong num" }, mark("invalid"), `${unread.files === 1 ? "A file" : whole(unread.files) + " files"} of hand-overs, `, h("code", {}, unread.name), ", lies with the history and has something else in it, or is cut: not looked at."),
    list,
    button,
  );
}

/** A, B, … Z, A1, … */
function letter(n: number): string {
  return String.fromCharCode(65 + (n % 26)) + (n < 26 ? "" : Math.floor(n / 26));
}

/** How many hand-overs are missing before one, by the numbers. */
function gapBefore(all: readonly HandOver[], i: number): bigint {
  const before = i > 0 ? BigInt(all[i - 1]!.number) : 0n;
  const missing = BigInt(all[i]!.number) - before - 1n;
  return missing > 0n ? missing : 0n;
}

function item({ number, from, to, head, tick, problem }: HandOver, names: ReadonlyMap<string, string>, open: (head: string) => void, missing: bigint): HTMLElement {
  const node = (did: string) =>
    h("span", { class: "node" }, names.has(did) ? h("b", {}, `Node ${names.get(did)}`) : false, h("code", { title: did }, short(did)), copyButton(() => did, "the DID of the node"));
  return h(
    "li",
    { class: `move${problem ? " broken" : ""}` },
    missing > 0n && h("p", { class: "hint num" }, `${count(missing, "hand-over")} before it ${missing === 1n ? "is" : "are"} not here.`),
    h(
      "div",
      { class: "what num" },
      mark(problem ? "invalid" : "yes"),
      h("span", { class: "number" }, whole(number)),
      tick === undefined ? h("span", { class: "hint" }, "at a checkpoint that is not here") : h("button", { type: "button", class: "quiet", click: () => open(head) }, `after tick ${whole(tick)}`),
    ),
    h("div", { class: "nodes" }, node(from), h("span", { class: "arrow", "aria-label": "to" }, "→"), node(to)),
    problem && h("p", { class: "wrong" }, `Does not count: ${wrong[problem] ?? problem}.`),
  );
}
