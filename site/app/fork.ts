// A proof that a key lived twice, given to the page in the place of a history.

import type { ForkReport } from "../verify/fork.ts";
import { foreign, h, mark } from "./dom.ts";

/** The verdict on a fork proof that holds: never a good one. */
export function forkPanel({ did, sides, proves, doesNotProve }: ForkReport): HTMLElement {
  const list = h("ul", { class: "sides" });
  for (const { checkpoint, tick, claimedLog } of sides ?? []) {
    list.append(
      h("li", {}, `tick ${tick}: `, h("code", { class: "mono" }, checkpoint), claimedLog ? h("span", { class: "hint" }, " A proof that it was logged lies with it, in ", foreign(claimedLog), ": igor-verify fork-proof --witness says what that is worth.") : undefined),
    );
  }
  return h(
    "section",
    { class: "verdict invalid", "aria-labelledby": "verdict" },
    h(
      "div",
      { class: "head" },
      mark("invalid"),
      h("div", {}, h("h1", { id: "verdict", tabindex: -1 }, "This key lived twice"), h("p", { class: "sum" }, h("code", { class: "mono" }, did ?? ""))),
    ),
    h("div", { class: "body" }, h("div", {}, list, h("p", {}, foreign(proves)), doesNotProve ? h("p", { class: "hint" }, foreign(doesNotProve)) : undefined)),
  );
}
