// Where published lives are. The rest of it is in published.ts, which the badge loads only where it needs it.

/** The address below which a server has what this page needs: its path ends in a slash. */
export function baseURL(from: string | URL, document?: string): URL {
  const url = new URL(from, document);
  if (!/^https?:$/.test(url.protocol) || url.username || url.password) throw new TypeError(`from: ${String(from)} is no address of a server`);
  url.search = url.hash = "";
  url.pathname = url.pathname.replace(/\/igor\/did:.*$/, "/").replace(/\/?$/, "/");
  return url;
}

/** Where the head of a life is. */
export const headURL = (base: URL, did: string) => new URL(`${base.href}igor/${did}/head`);

/** Where the proof is that the head of a life was witnessed. */
export const proofURL = (base: URL, did: string) => new URL(`${base.href}igor/${did}/head.tlog-proof`);
