// What an agent says that it paid on chains: the receipts that lie with its history.

import type { ChainPayment, ChainPayments } from "../verify/receipts.ts";
import { count, foreign, h, mark, size, whole } from "./dom.ts";

/** The file of an agent's folder that has them. */
export const receiptsName = "receipts.x402";

/** A larger file is for the command line. */
export const maxReceipts = 8 << 20;

/** So many are shown. */
const most = 50;

/** What was found in a file of receipts, or why nothing was. */
export type Paid = ChainPayments | { readonly problem: string };

/** Base units of a token with 6 decimals. */
function units(amount: string): string {
  const negative = amount.startsWith("-");
  const digits = amount.replace("-", "").padStart(7, "0");
  return `${negative ? "-" : ""}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

function when(nanoseconds: string): string {
  const date = new Date(Number(BigInt(nanoseconds) / 1_000_000n));
  return Number.isNaN(date.getTime()) ? "at no time" : date.toISOString().replace(/\.\d+Z$/, "Z");
}

/** The section about payments on chains, which only the chains can confirm. */
export function paymentsSection(paid: Paid, did: string | undefined): HTMLElement | undefined {
  const section = (...content: (Node | undefined)[]) =>
    h("section", { class: "section payments", "aria-labelledby": "payments" }, h("h2", { id: "payments" }, "Payments on chains"), ...content);
  if ("problem" in paid) {
    return section(h("p", { class: "hint" }, "The file ", h("code", {}, receiptsName), " lies with the history and could not be read: ", foreign(paid.problem), ". Nothing is known of what the agent paid."));
  }
  const own = paid.payments.filter((payment) => payment.did === did);
  const others = paid.payments.length - own.length;
  if (paid.total + paid.unsigned === 0) return undefined;
  const list = h("ol", { class: "payments" });
  for (const payment of own.slice(0, most)) list.append(item(payment));
  const left = paid.total - others - Math.min(own.length, most);
  return section(
    h(
      "p",
      { class: "hint" },
      mark("open"),
      h("b", {}, "The agent’s word; no chain was asked. "),
      "Its key signed these receipts. Whether the transactions are there, only a node of the chain can say: ",
      h("code", {}, "igor receipts FOLDER --on-chain --node URL"),
      " asks.",
    ),
    own.length > 0 ? list : h("p", {}, "None of them is this agent’s."),
    left > 0 ? h("p", { class: "hint num" }, `and ${count(left, "more payment")}`) : undefined,
    others > 0 ? h("p", { class: "wrong num" }, `${count(others, "receipt")} of another agent ${others === 1 ? "lies" : "lie"} with them.`) : undefined,
    paid.unsigned > 0 ? h("p", { class: "wrong num" }, `${count(paid.unsigned, "receipt")} with a signature that is not valid: not to be believed, and not shown.`) : undefined,
  );
}

function item({ network, asset, to, from, transaction, amount, block, time, agreed, asked }: ChainPayment): HTMLElement {
  const facts = h("dl", {});
  const fact = (term: string, ...value: (Node | string)[]) => facts.append(h("dt", {}, term), h("dd", {}, ...value));
  fact("Network", network);
  fact("Asset", h("code", {}, asset));
  fact("From", h("code", {}, from));
  fact("Transaction", h("code", {}, transaction));
  fact("Block", `${whole(Number(block))}, as ${agreed} of ${asked === 1 ? "1 node" : `${asked} nodes`} told it`);
  return h(
    "li",
    { class: "panel payment" },
    h("p", { class: "num" }, h("b", {}, units(amount)), " to ", h("code", {}, to), h("span", { class: "hint" }, `, ${when(time)}`)),
    facts,
  );
}

/** Why a file is not read. */
export const tooLarge = (bytes: number): string => `it has ${size(bytes)}, which is for igor receipts`;
