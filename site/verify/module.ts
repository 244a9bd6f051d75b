import { VerifyError } from "./error.ts";
import { readWASM } from "./platform.ts";

/** Loads the verifier's WASM, and refuses any but the one that this script was built with. */
export async function loadModule(url: URL): Promise<WebAssembly.Module> {
  let bytes: ArrayBuffer;
  try {
    bytes = await readWASM(url);
  } catch (cause) {
    throw new VerifyError("wasm-unavailable", "the verifier could not be loaded", {
      path: url.href,
      hint: "it has to be beside this script, or where configure says",
      cause,
    });
  }
  if ((await sha256(bytes)) !== IGOR_WASM_SHA256) {
    throw new VerifyError("wasm-refused", "this is not the verifier that belongs to this script", {
      path: url.href,
      hint: "publish the files of one version together",
    });
  }
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new VerifyError("wasm-unavailable", "the verifier could not be compiled", {
      path: url.href,
      hint: "a content security policy has to allow 'wasm-unsafe-eval'",
      cause,
    });
  }
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
  // Pages that came over plain HTTP have no crypto.subtle.
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
    : (await import("./sha256.ts")).sha256(new Uint8Array(bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
