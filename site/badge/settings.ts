import { VerifyError } from "../verify/api.ts";
import { baseURL, headURL } from "../verify/base.ts";

/** What a badge's attributes say. */
export interface Settings {
  /** What to ask for; of a published life, only its head. */
  readonly urls: readonly URL[];
  /** The server that has the life of the expected identity, where no address of the history is given. */
  readonly from?: URL | undefined;
  readonly pins: { did?: string; head?: string };
  /** The policy that says who has to have witnessed the head, where that is demanded. */
  readonly policy?: URL | undefined;
  /** In seconds. */
  readonly timeout: number;
}

/** How the value of each pin begins. */
const pins = { did: /^\s*did:/, head: /^\s*bafkrei/ };

/** Attributes that may say a DID or a CID without meaning a pin. */
const others = /^(src|from|verifier|id|class|style|title|slot|part|lang|aria-.*|data-.*)$/;

/** The timers of browsers take no more. */
const maxSeconds = 2_000_000;

/**
 * Reads the attributes. Whatever could have been meant as a pin and is none is an error, since a
 * history that nobody pinned verifies whoever made it.
 *
 * @param unbound pins that were given no value
 */
export function readSettings(badge: HTMLElement, unbound: ReadonlySet<string>): Settings {
  const given: Settings["pins"] = {};
  for (const pin of ["did", "head"] as const) {
    const value = badge.getAttribute(pin);
    if (value?.trim()) given[pin] = value.trim();
    else if (value !== null || unbound.has(pin)) throw bad(`${pin} has no value`, "to pin nothing, leave the attribute out");
    else for (const { name, value } of badge.attributes) {
      if (new RegExp(`(^|[^a-z])${pin}s?\\W*$`).test(name) || (pins[pin].test(value) && !others.test(name))) {
        throw bad(`there is no attribute ${name}`, `is it meant as ${pin}?`);
      }
    }
  }
  if (badge.hasAttribute("pinned") && !given.did) throw bad("pinned, but there is no did", "set did to the identity that is expected");
  const timeout = seconds(badge, "timeout") ?? 30;
  seconds(badge, "refresh");
  if (!site(badge)) throw new TypeError("verifier: want an address of http or https");
  const urls = addresses(badge);
  const from = server(badge);
  if (from && urls.length > 0) throw new TypeError("src and from: give one of them");
  if (from && !given.did) throw bad("from, but there is no did", "set did to the identity whose life it is");
  const demand = badge.getAttribute("require-witness");
  if (demand !== null && !demand.trim()) throw bad("require-witness has no value", "set it to the address of a policy");
  const policy = demand === null ? undefined : new URL(demand.trim(), badge.baseURI);
  if (from) return { urls: [headURL(from, given.did!)], from, pins: given, policy, timeout };
  if (urls.length === 0) {
    throw new VerifyError("nothing-to-verify", "nothing to verify", { hint: "set src to the URL of a .car history, or did and from to an agent and a server that has its life" });
  }
  return { urls, pins: given, policy, timeout };
}

function server(badge: HTMLElement): URL | undefined {
  const from = badge.getAttribute("from");
  return from?.trim() ? baseURL(from.trim(), badge.baseURI) : undefined;
}

function bad(problem: string, hint: string): VerifyError {
  return new VerifyError("bad-pin", problem, { hint });
}

function seconds(badge: HTMLElement, name: string): number | undefined {
  const value = badge.getAttribute(name);
  if (value === null || (name === "refresh" && value === "0")) return undefined;
  const number = Number(value);
  if (!(number > 0 && number <= maxSeconds)) throw new TypeError(`${name}: want seconds, above 0 and at most ${maxSeconds}`);
  return number;
}

function addresses(badge: HTMLElement): URL[] {
  const parts = (badge.getAttribute("src") ?? "").split(/\s+/).filter(Boolean);
  return parts.map((part) => {
    try {
      return new URL(part, badge.baseURI);
    } catch {
      throw new TypeError(`src: ${part} is no address`);
    }
  });
}

function site(badge: HTMLElement & { readonly verifier?: string }): URL | undefined {
  try {
    const url = new URL(badge.verifier ?? "", badge.baseURI);
    return /^https?:$/.test(url.protocol) ? url : undefined;
  } catch {
    return undefined;
  }
}

/** Where somebody else's verifier is, and the history for it: none where it cannot read it. */
export function verifierLink(badge: HTMLElement): URL | undefined {
  const verifier = site(badge);
  if (!verifier) return undefined;
  let urls: URL[] = [];
  const link = new URL("load.html", verifier);
  try {
    urls = addresses(badge);
    const from = server(badge);
    if (from && urls.length === 0) {
      link.searchParams.set("did", badge.getAttribute("did")?.trim() ?? "");
      link.searchParams.set("from", from.href);
      return link;
    }
  } catch {
    // the details say so
  }
  const [url] = urls;
  if (urls.length !== 1 || !/^https?:$/.test(url!.protocol)) return verifier;
  url!.username = url!.password = "";
  link.searchParams.set("history", url!.href);
  return link;
}
