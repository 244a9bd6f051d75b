/** What WASM begins with. */
export const wasmMagic = "\0asm";

/** Whether bytes begin with these characters of one byte each. */
export function begins(bytes: ArrayBuffer, magic: string): boolean {
  return String.fromCharCode(...new Uint8Array(bytes, 0, Math.min(magic.length, bytes.byteLength))) === magic;
}
