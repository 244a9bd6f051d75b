// The first script of load.html. That page may ask other servers, because which
// one is named by the visitor's link; from here on it is that one address alone.

import { historyURL } from "./link.ts";

const url = historyURL(new URLSearchParams(location.search).get("history"), location.href);
const policy = document.createElement("meta");
policy.httpEquiv = "Content-Security-Policy";
// The origin and path, without what could end the source expression.
policy.content = url ? `connect-src 'self' ${url.origin}${url.pathname.replace(/[;,\s]/g, encodeURIComponent)}` : "connect-src 'self'";
document.head.append(policy);
