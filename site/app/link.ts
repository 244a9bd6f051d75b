/** The page that may load a history from an address. */
export const loadPage = "load.html";

/** Goes on to a history at an address, if the text is one. It is loaded when the visitor agrees. */
export function goTo(text: string): void {
  const url = historyURL(text);
  if (url) location.assign(new URL(`${loadPage}?${new URLSearchParams({ history: url.href })}`, document.baseURI));
}

/** The address that the visitor names for a history, as `?history=URL` does, if it is one that can be loaded. */
export function historyURL(text: string | null, base?: string): URL | undefined {
  if (text === null) return undefined;
  try {
    const url = new URL(text, base);
    url.hash = "";
    return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
  } catch {
    return undefined;
  }
}
