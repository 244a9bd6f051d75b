/** The page that may load a history from an address. */
export const loadPage = "load.html";

/** The history that the page's own address asks for: `?history=URL`. */
export function historyURL(): URL | undefined {
  const text = new URLSearchParams(location.search).get("history");
  if (text === null) return undefined;
  try {
    const url = new URL(text, location.href);
    url.hash = "";
    return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
  } catch {
    return undefined;
  }
}
