import { baseURL } from "../verify/base.ts";
import { isCID, isDID } from "./cid.ts";
import { unpinned } from "./pins.ts";

/** The page that may load a history from an address. */
export const loadPage = "load.html";

/** How many servers a link names at most. */
const maxServers = 4;

/** What a link, or the visitor, names: a history in one file, or a life and the servers that have it. */
export type Address =
  | { readonly file: URL; readonly life?: undefined; readonly from?: undefined }
  | { readonly life: { readonly did: string; readonly cid: string }; readonly from: readonly URL[]; readonly file?: undefined };

/** Reads what the address of this page names; undefined if it names nothing, and "wrong" if that cannot be loaded. */
export function addressIn(search: string, base?: string): Address | "wrong" | undefined {
  const query = new URLSearchParams(search);
  if (query.has("from")) {
    const [did, cid] = [query.get("did")?.trim() ?? "", query.get("cid")?.trim() ?? ""];
    const from = query.getAll("from").map((text) => serverURL(text.trim()));
    if (from.length > maxServers || from.includes(undefined) || !(did || cid) || (did && !isDID(did)) || (cid && !isCID(cid))) return "wrong";
    return { life: { did, cid }, from: from as URL[] };
  }
  if (!query.has("history")) return undefined;
  const file = historyURL(query.get("history"), base);
  return file ? { file } : "wrong";
}

/** The address of a server that has lives, if a text is one. */
export function serverURL(text: string): URL | undefined {
  try {
    return baseURL(text);
  } catch {
    return undefined;
  }
}

/** The sources of a policy under which no more can be asked for than an address needs. */
export function sourcesOf(address: Address): string[] {
  // What could end a source expression is written otherwise.
  const source = (url: URL, path: string) => `${url.origin}${(url.pathname + path).replace(/[;,\s]/g, encodeURIComponent)}`;
  if (address.file) return [source(address.file, "")];
  const { life, from } = address;
  return from.flatMap((base) => [source(base, life.did ? `igor/${life.did}/` : "igor/"), source(base, "ipfs/")]);
}

/** This site's address for a check of what is named. */
export function linkTo(address: Address, head = "", pins = unpinned): URL {
  const query = new URLSearchParams();
  const did = address.life?.did || pins.did.value;
  if (address.file) query.set("history", address.file.href);
  if (did) query.set("did", did);
  if (address.life && !address.life.did) query.set("cid", address.life.cid);
  for (const { href } of address.from ?? []) query.append("from", href);
  if (head) query.set("head", head);
  const { policy, monitor, require } = pins;
  if (policy.value) {
    query.set("policy", policy.value);
    if (monitor.value) query.set("monitor", monitor.value);
    if (require) query.set("require", "");
  }
  return new URL(`${loadPage}?${query}`, document.baseURI);
}

/** Reads what a visitor wrote or pasted. What it does not name is empty. */
export function parseName(text: string): { readonly address?: Address; readonly did?: string; readonly cid?: string } {
  text = text.trim();
  if (isDID(text)) return { did: text };
  const cid = text.replace(/^(ipfs:\/\/|\/ipfs\/)/, "");
  if (isCID(cid)) return { cid };
  const url = historyURL(text);
  if (!url) return {};
  const named = addressIn(url.search);
  if (named && named !== "wrong") return { address: named };
  const path = decoded(url.pathname);
  const [, did] = /\/igor\/(did:key:\w+)(?:\/|$)/.exec(path) ?? [];
  if (did && isDID(did)) return { address: { life: { did, cid: "" }, from: [baseURL(new URL(path.slice(0, path.indexOf("/igor/did:") + 1), url))] } };
  const [, block] = /\/ipfs\/(\w+)$/.exec(path) ?? [];
  if (block && isCID(block)) return { address: { life: { did: "", cid: block }, from: [baseURL(new URL(path.slice(0, path.lastIndexOf("/ipfs/") + 1), url))] } };
  return { address: { file: url } };
}

const typedKey = "igor-typed";

/** Goes on to what is named, with the pins that are set. It is loaded when the visitor agrees. What they wrote themselves is their word; what a link had set stays the link's. */
export function goTo(address: Address, typed = false, pins = unpinned): void {
  const link = linkTo(address, pins.head.value, pins);
  const { life } = address;
  const own = Object.entries(pins).flatMap(([name, pin]) => (pin instanceof Object && pin.value !== "" && pin.by === "you" ? [name] : []));
  // Whom the address names is the word of whoever wrote the address.
  const names = life?.did ? own.filter((name) => name !== "did") : own;
  if (life && typed) names.push(life.did ? "did" : "cid");
  try {
    sessionStorage.setItem(typedKey, JSON.stringify({ search: link.search, names }));
  } catch {
    // then it counts as a link's
  }
  location.assign(link);
}

/** Which parts of this page's address are the visitor's own word. */
export function typedNames(): ReadonlySet<unknown> {
  try {
    const { search, names } = JSON.parse(sessionStorage.getItem(typedKey) ?? "{}") as { search?: unknown; names?: unknown };
    return new Set(location.search !== "" && search === location.search && Array.isArray(names) ? (names as unknown[]) : []);
  } catch {
    return new Set();
  }
}

/** The address that the visitor names for a history, as `?history=URL` does, if it is one that can be loaded. */
export function historyURL(text: string | null, base?: string): URL | undefined {
  if (text === null) return undefined;
  try {
    const url = new URL(text, base);
    url.hash = "";
    return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
  } catch {
    return undefined;
  }
}

/** A path without percent signs, but for bytes that are no text. */
export function decoded(path: string): string {
  return path.replace(/(%[0-9a-f]{2})+/gi, (bytes) => {
    try {
      return decodeURIComponent(bytes);
    } catch {
      return bytes;
    }
  });
}
