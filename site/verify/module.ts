import { VerifyError } from "./error.ts";
import { hex } from "./hex.ts";
import { begins, wasmMagic } from "./magic.ts";
import { readWASM } from "./platform.ts";

/**
 * Loads the verifier's WASM, and refuses any but the one that this script was built
 * with. It is compiled and hashed while it comes, and not run before its hash is known.
 */
export async function loadModule(url: URL): Promise<WebAssembly.Module> {
  let bytes: ArrayBuffer;
  let module: Promise<WebAssembly.Module>;
  try {
    const response = await readWASM(url);
    module = WebAssembly.compileStreaming(response.clone());
    module.catch(() => {}); // it is awaited below
    bytes = await response.arrayBuffer();
    if (!begins(bytes, wasmMagic)) throw new Error("it is something else, such as a page that says so");
  } catch (cause) {
    throw new VerifyError("wasm-unavailable", "the verifier could not be loaded", {
      path: url.href,
      hint: "it has to be beside this script, or where configure says",
      cause,
      temporary: cause instanceof TypeError, // which is what fetch says of a network that fails
    });
  }
  if ((await sha256(bytes)) !== IGOR_WASM_SHA256) {
    throw new VerifyError("wasm-refused", "this is not the verifier that belongs to this script", {
      path: url.href,
      hint: "publish the files of one version together",
    });
  }
  try {
    // As a stream it is only compiled if the host calls it application/wasm.
    return await module.catch(() => WebAssembly.compile(bytes));
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
  return hex(digest);
}
