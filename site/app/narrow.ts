// The first script of load.html. That page may ask other servers, because which
// ones is named by the visitor's link; from here on it is what that names alone.

import { addressIn, sourcesOf } from "./link.ts";

const address = addressIn(location.search, location.href);
const policy = document.createElement("meta");
policy.httpEquiv = "Content-Security-Policy";
policy.content = ["connect-src 'self'", ...(address && address !== "wrong" ? sourcesOf(address) : [])].join(" ");
document.head.append(policy);
