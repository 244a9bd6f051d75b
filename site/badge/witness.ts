import { VerifyError } from "../verify/api.ts";
import { stream } from "../verify/input.ts";
import { isWhole } from "../verify/pieces.ts";

/** The largest policy, and the largest proof. */
const most = 256 << 10;

/** Fetches what a demanded witness takes: the policy, without which there is no verdict, and the proof, without which the history is incomplete. */
export async function demand(policy: URL, proof: URL, get: (url: URL) => Promise<Response>): Promise<{ policy: string; proof?: Uint8Array; require: true }> {
  const rules = await bytes(await get(policy), policy);
  if (!rules) throw new VerifyError("unreadable", "the policy of require-witness is not there", { path: policy.href, hint: "set require-witness to its address", temporary: true });
  const found = await bytes(await get(proof), proof);
  return { policy: new TextDecoder().decode(rules), ...(found && { proof: found }), require: true };
}

async function bytes(response: Response, { href }: URL): Promise<Uint8Array | undefined> {
  if (!isWhole(response)) return void (await response.body?.cancel());
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const part of response.body ? stream(response.body, href) : []) {
    if ((size += part.length) > most) throw new VerifyError("too-large", `more than ${most} bytes`, { path: href, hint: "it is no such file" });
    parts.push(part);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
