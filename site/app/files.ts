// Where the site's files are that scripts load. Their names have their hash in them, so
// that those of one build are never mixed with those of another.

declare const IGOR_WASM_FILE: string; // all by the build
declare const IGOR_WORKER_FILE: string;
declare const IGOR_UNPACKER_FILE: string;

const at = (name: string) => new URL(name, import.meta.url);

/** What pages may start as a script, which their policy asks to be said. */
interface Policy {
  createScriptURL(url: string): string;
}

const { trustedTypes } = globalThis as unknown as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } };

const policy = trustedTypes?.createPolicy("igor-site", {
  createScriptURL(url) {
    if (new URL(url).origin !== location.origin) throw new TypeError("a script from elsewhere");
    return url;
  },
});

/** The address of a script of the site itself, in the form that a page with Trusted Types takes. */
export function trusted(url: URL): URL {
  return policy ? (policy.createScriptURL(url.href) as unknown as URL) : url;
}

export const files = {
  wasm: at(IGOR_WASM_FILE),
  worker: at(IGOR_WORKER_FILE),
  unpacker: at(IGOR_UNPACKER_FILE),
};
