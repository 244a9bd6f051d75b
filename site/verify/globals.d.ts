/** The SHA-256 of igor-verify.wasm, in hex. The build program sets it. */
declare const IGOR_WASM_SHA256: string;

/** The worker's script, where it is in the same file; else empty. The build program sets it. */
declare const IGOR_WORKER: string;

/** wasm_exec.js of the Go toolchain that built igor-verify.wasm. */
declare module "wasm_exec" {
  /** What a panic wrote, if there was one. */
  export function panicked(): string;
  export class Go {
    readonly importObject: WebAssembly.Imports;
    exit: (code: number) => void;
    /** The program's environment variables. */
    env: Record<string, string>;
    readonly _scheduledTimeouts: Map<number, ReturnType<typeof setTimeout>>;
    run(instance: WebAssembly.Instance): Promise<void>;
  }
}
