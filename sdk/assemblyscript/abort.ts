// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: i32, parts: usize, count: i32, written: usize): i32;

/**
 * Ends the agent, with the message and the place: asconfig.json makes it what a failed assertion, a
 * thrown error and an index out of range call. It is written to standard error, which reaches the
 * operator and needs no capability.
 */
export function onAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  const why = message ? message : "abort";
  const where = file ? file : "?";
  const text = String.UTF8.encode(`${where}:${line}:${column}: ${why}\n`);
  const part = memory.data(8);
  const written = memory.data(4);
  store<usize>(part, changetype<usize>(text));
  store<i32>(part, text.byteLength, 4);
  fd_write(2, part, 1, written);
  unreachable();
}
