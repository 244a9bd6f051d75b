/**
 * The badge's style sheet. It is constructed, not written into the page, so that
 * a policy that allows no inline style allows it.
 */
export const css = `
:host {
  --verified: var(--igor-lineage-verified, light-dark(#116329, #56d364));
  --unbroken: var(--igor-lineage-unbroken, light-dark(#0b57a4, #79b8ff));
  --incomplete: var(--igor-lineage-incomplete, light-dark(#8a4b00, #e3b341));
  --invalid: var(--igor-lineage-invalid, light-dark(#b3261e, #ff8a80));
  --error: var(--igor-lineage-error, light-dark(#57606a, #a8b3bf));
  --loading: var(--igor-lineage-loading, light-dark(#57606a, #a8b3bf));
  --text: var(--igor-lineage-text, light-dark(#1c2128, #e6edf3));
  --muted: var(--igor-lineage-muted, light-dark(#57606a, #a8b3bf));
  --background: var(--igor-lineage-background, light-dark(#fff, #161b22));
  --border: var(--igor-lineage-border, light-dark(#c9d1d9, #3d444d));
  --radius: var(--igor-lineage-radius, 0.5em);
  --state: var(--loading);
  display: inline-block;
  max-width: 100%;
  font: var(--igor-lineage-font, 500 0.875rem/1.4 system-ui, sans-serif);
}
:host([hidden]) { display: none; }
:host([state=verified]) { --state: var(--verified); }
:host([state=verified]:not([identity=pinned])) { --state: var(--unbroken); }
:host([state=incomplete]) { --state: var(--incomplete); }
:host([state=invalid]) { --state: var(--invalid); }
:host([state=error]) { --state: var(--error); }
* { box-sizing: border-box; }
button { font: inherit; color: inherit; cursor: pointer; }
:focus-visible { outline: 2px solid light-dark(#0550ae, #79c0ff); outline-offset: 2px; }
.badge {
  display: inline-flex; gap: 0.5em; max-width: 100%; margin: 0;
  padding: 0.3em 0.75em 0.3em 0.5em; text-align: start; color: var(--text);
  background: var(--background); border: 1px solid var(--border); border-radius: var(--radius);
}
.badge:hover { border-color: var(--state); }
:host([state=verified][identity=pinned]) .badge { border-color: var(--state); box-shadow: inset 0 0 0 1px var(--state); }
.badge[aria-disabled=true] { cursor: default; }
.holder { display: flex; align-items: center; height: 1lh; }
.icon { flex: none; width: 1.35em; height: 1.35em; color: var(--state); }
.icon .cut { stroke: var(--background); }
.state { color: var(--state); font-weight: 700; }
.identity { color: var(--muted); font-weight: 400; unicode-bidi: isolate; }
.identity:empty { display: none; }
:host([state=loading]) .ring { transform-origin: center; animation: turn 1.2s linear infinite; }
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { :host([state=loading]) .ring { animation: none; } }
dialog {
  width: min(42rem, calc(100vw - 2rem)); max-height: calc(100dvh - 2rem); overflow: auto; padding: 1.5rem;
  color: var(--text); background: var(--background); border: 1px solid var(--border); border-radius: 0.75rem;
  font: var(--igor-lineage-dialog-font, 400 0.9375rem/1.5 system-ui, sans-serif);
}
dialog::backdrop { background: rgb(0 0 0 / 0.5); }
h2:focus-visible { outline: none; }
h2 { display: flex; align-items: center; gap: 0.5em; margin: 0 0 0.75rem; font-size: 1.25rem; line-height: 1.3; }
p { margin: 0 0 0.75rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.35rem 1rem; margin: 1rem 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 1rem 0; padding: 0; list-style: none; }
li { margin: 0 0 0.5rem; padding: 0.5rem 0.75rem; border-inline-start: 3px solid var(--state); background: light-dark(#f6f8fa, #0d1117); overflow-wrap: anywhere; }
li > span { display: block; color: var(--muted); font-size: 0.875em; }
li > .code { color: var(--state); font-size: 1em; }
code { font: 0.9em ui-monospace, monospace; direction: ltr; unicode-bidi: isolate; }
a { color: light-dark(#0550ae, #79c0ff); }
footer { display: flex; flex-wrap: wrap; gap: 0.75rem; justify-content: flex-end; }
footer button { padding: 0.4em 1em; background: none; border: 1px solid var(--border); border-radius: 0.4rem; }
footer button:hover { border-color: currentColor; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 0.5rem; } }
@media (forced-colors: active) {
  .icon { forced-color-adjust: none; color: CanvasText; --background: Canvas; }
}
`;
