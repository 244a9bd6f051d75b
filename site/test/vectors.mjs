// The repository's test vectors (testdata/vectors/README.md) and real
// histories, and what igor-verify reports for them.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { root } from "./browser.mjs";

const run = promisify(execFile);

/** Returns all vectors whose inputs are there; it is an error that there is none. */
export async function vectors() {
  const found = [];
  for (const [folder, file] of [["testdata/vectors", "vector.json"], ["testdata/histories", "EXPECT.json"]]) {
    const before = found.length;
    for (const name of (await readdir(join(root, folder))).sort()) {
      const text = await readFile(join(root, folder, name, file), "utf8").catch(() => undefined);
      if (text === undefined) continue;
      const vector = JSON.parse(text);
      const whole = file === "vector.json" ? vector : { inputs: ["."], expect: vector };
      const path = join(root, folder, name);
      // A page is given files: that one is not there can only happen to a command.
      if (whole.inputs.every((input) => existsSync(join(path, input)))) found.push({ name, folder: path, ...whole });
    }
    assert.ok(found.length > before, `no ${file} below ${folder}`);
  }
  return found;
}

/** The inputs of a vector as verifyHistory takes them, their bytes in base64. */
export async function inputs({ folder, inputs, names = {} }) {
  const items = [];
  const path = (file) => names[file] ?? file;
  for (const input of inputs) {
    const info = await stat(join(folder, input));
    if (!info.isDirectory()) {
      items.push({ name: basename(path(input)), base64: await readFile(join(folder, input), "base64") });
      continue;
    }
    for (const entry of await readdir(join(folder, input), { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1);
      if (!entry.isFile()) continue;
      const inside = input === "." ? path(file) : path(file).slice(input.length + 1);
      items.push({ name: inside, inFolder: true, base64: await readFile(join(folder, file), "base64") });
    }
  }
  return items;
}

const told = new Map();

/** Returns the vectors with what igor-verify, in the version that a report names, says of each. */
export async function outcomes(version) {
  if (!told.has(version)) told.set(version, ask(version));
  return told.get(version);
}

async function ask(version) {
  const all = await vectors();
  const verify = await igorVerify({ after }, version);
  let next = 0;
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let vector; (vector = all[next++]); ) vector.cli = await command(verify, vector);
    }),
  );
  return all;
}

/**
 * Builds igor-verify as the version that a report names.
 *
 * @returns a function that runs it in a folder
 */
export async function igorVerify(t, version) {
  const commit = /\(commit (\S+),/.exec(version)[1];
  const dir = await mkdtemp(join(tmpdir(), "igor-verify-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const ldflags = `-s -w -X igor.dev/verifier.commit=${commit}`;
  await run("go", ["build", "-trimpath", "-ldflags", ldflags, "-o", dir, "./cmd/igor-verify"], { cwd: root });
  return async (cwd, ...args) => {
    try {
      const { stdout } = await run(join(dir, "igor-verify"), args, { cwd, maxBuffer: 1 << 28 });
      return { exit: 0, stdout, stderr: "" };
    } catch (error) {
      if (typeof error.code !== "number") throw error;
      return { exit: error.code, stdout: error.stdout, stderr: error.stderr };
    }
  };
}

/** Runs igor-verify on a vector, under the names that it asks for. */
async function command(verify, { folder, inputs, names, args = {} }) {
  const pins = Object.entries(args).map(([name, value]) => `--${name}=${value}`);
  if (!names) return verify(folder, "--format=json", ...pins, ...inputs);
  const copy = await mkdtemp(join(tmpdir(), "igor-vector-"));
  try {
    await cp(folder, copy, { recursive: true });
    for (const [from, to] of Object.entries(names)) {
      await mkdir(dirname(join(copy, to)), { recursive: true });
      await rename(join(copy, from), join(copy, to));
    }
    return await verify(copy, "--format=json", ...pins, ...inputs);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** Holds what verifyHistory gave, a report's JSON or an error, against igor-verify and the vector. */
export function check({ expect, cli }, { json, error }) {
  assert.equal(cli.exit, expect.exit);
  if (expect.exit === 2) {
    assert.equal(json, undefined);
    assert.equal(error.name, "VerifyError");
    const words = error.code === "malformed-car" ? `${error.path}: ${error.problem}\nhint: ${error.hint}\n` : error.problem;
    if (["malformed-car", "bad-pin"].includes(error.code) || error.problem.startsWith("this is")) assert.ok(cli.stderr.includes(words), `${cli.stderr}\n${words}`);
    return;
  }
  assert.equal(error, undefined);
  assert.equal(json, cli.stdout);
  assert.equal(JSON.parse(json).verdict, expect.verdict);
}
