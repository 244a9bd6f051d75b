// Whether the server has another build of the site than the one that runs here.

/** Returns true if it has. Without an answer, as without a network, there is nothing to say. */
export async function isOutdated(): Promise<boolean> {
  const here = document.querySelector<HTMLMetaElement>('meta[name="igor-build"]')?.content;
  try {
    const response = await fetch(new URL("build.json", document.baseURI), { cache: "no-store", credentials: "omit" });
    if (!response.ok) return false;
    const { build } = (await response.json()) as { build?: unknown };
    return typeof build === "string" && build !== here;
  } catch {
    return false;
  }
}
