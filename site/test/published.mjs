// Lives that igor publish wrote and igor serve serves, for the browser's tests: the real commands.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./browser.mjs";
import { car, checkpoints } from "./life.mjs";

const run = promisify(execFile);

let built;

/** Builds igor once, and returns a folder for what tests make, and where igor is. */
function build() {
  built ??= (async () => {
    const dir = await mkdtemp(join(tmpdir(), "igor-published-"));
    process.on("exit", () => execFile("rm", ["-rf", dir]));
    await run("go", ["build", "-o", join(dir, "igor"), "./cmd/igor"], { cwd: root });
    return { dir, igor: join(dir, "igor") };
  })();
  return built;
}

let made;

/** A published life of 2,100 checkpoints, in two segments and a tail, and two older states of it; the small one is a tail of 60. */
export function published() {
  made ??= (async () => {
    const { dir, igor } = await build();
    const all = checkpoints(2100, (i) => ({ tick: BigInt(i * 5 + 4), budget: 9_000_000n - BigInt(i), price: 1000n, state: Buffer.from(`tick ${i}`) }));
    const publish = async (name, n) => {
      const file = join(dir, `${name}.car`);
      await writeFile(file, car(all.slice(0, n)));
      await run(igor, ["history", "import", file, join(dir, name)]);
      const { stdout } = await run(igor, ["publish", join(dir, name), join(dir, `${name}-public`), "--json"]);
      return { tree: join(dir, `${name}-public`), ...JSON.parse(stdout) };
    };
    return { life: await publish("life", 2100), old: await publish("old", 1500), small: await publish("small", 60) };
  })();
  return made;
}

let number = 0;

/** Publishes a vector's history, with the proof and the hand-overs that lie beside it. */
export async function publish({ checkpoints, proof, handovers }) {
  const { dir, igor } = await build();
  const name = join(dir, `vector-${++number}`);
  await writeFile(`${name}.car`, car(checkpoints.map((text) => Buffer.from(text, "hex"))));
  if (handovers) await writeFile(`${name}.handovers`, Buffer.from(handovers, "hex"));
  await run(igor, ["history", "import", `${name}.car`, name]);
  if (proof) await writeFile(join(name, "head.tlog-proof"), proof);
  const { stdout } = await run(igor, ["publish", name, `${name}-public`, "--json"]);
  return { tree: `${name}-public`, ...JSON.parse(stdout) };
}

/** Serves a tree with igor serve. */
export async function igorServe(t, tree, ...flags) {
  const { igor } = await build();
  const child = spawn(igor, ["serve", tree, "--listen", "127.0.0.1:0", "--json", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill());
  const [line] = await once(child.stdout, "data");
  return JSON.parse(line).url;
}

/**
 * Passes what is asked on to igor serve, but for what a fault answers.
 *
 * @param fault gets request, response and path, and returns true if it answers; it may return a path to ask for instead
 */
export async function faulty(t, url, fault = () => false) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(request.url);
    requests.push(path);
    response.setHeader("access-control-allow-origin", "*");
    const done = await fault(request, response, path);
    if (done === true) return;
    const answer = await fetch(url + (typeof done === "string" ? done : request.url).slice(1), { headers: { accept: request.headers.accept ?? "*/*" } });
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.closeAllConnections(), server.close()));
  return { url: `http://127.0.0.1:${server.address().port}/`, requests };
}

/** The head texts that are heads, and those that are none. */
export async function headVectors() {
  return JSON.parse(await readFile(join(root, "testdata", "published", "heads.json"), "utf8"));
}

/** Removes what the tests made. */
export async function cleanUp() {
  if (built) await rm((await built).dir, { recursive: true, force: true });
}
