// What every text page has: copy buttons beside code that is to be copied.

import { copyButton, h } from "./dom.ts";
import { offline } from "./offline.ts";

for (const code of document.querySelectorAll<HTMLElement>(".language-sh, .language-yaml")) {
  const pre = code.parentElement!;
  const holder = h("div", { class: "copyable" });
  pre.replaceWith(holder);
  holder.append(pre);
}

for (const pre of document.querySelectorAll<HTMLElement>(".copyable > pre")) {
  pre.before(copyButton(() => pre.textContent.trim()));
}

offline();
