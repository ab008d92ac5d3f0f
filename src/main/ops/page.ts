import { createHash } from 'node:crypto';
import { PAGE_SCRIPT } from './page-script.ts';
import type { ServerStatus } from './status-json.ts';

/**
 * The page at `/`: one document without outside parts, which asks `/status.json` every two seconds. Its policy allows
 * its own script and style by their hashes, and nothing else.
 */

const STYLE = `
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --text: #16202c; --soft: #566375; --line: #dde2e9;
  --good: #17713b; --good-ground: #dff3e6; --bad: #a3201a; --bad-ground: #fbe3e1; --warn: #7a5200; --warn-ground: #fcefcf;
  --mark: #1f5fbf; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #10151c; --card: #18202a; --text: #e6ebf2; --soft: #9fadbe; --line: #2b3644; --good: #7fdca2;
    --good-ground: #153323; --bad: #ff9d95; --bad-ground: #3f1917; --warn: #f3c969; --warn-ground: #38290b; --mark: #78aaff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.45 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding-top: 1.25rem; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: .95rem; margin: 0 0 .6rem; }
header p { margin: 0; color: var(--soft); }
#state { font-weight: 600; padding: .2rem .75rem; border-radius: 1rem; background: var(--warn-ground); color: var(--warn); }
#state:empty { display: none; }
#state.good { background: var(--good-ground); color: var(--good); }
#state.bad { background: var(--bad-ground); color: var(--bad); }
#trouble { flex-basis: 100%; padding: .6rem .9rem; border-radius: .5rem; background: var(--bad-ground); color: var(--bad); }
#trouble:empty { display: none; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem;
  padding-top: 1rem; padding-bottom: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; min-width: 0; }
section.wide { grid-column: 1 / -1; }
@media (min-width: 68rem) { section.wide { grid-column: span 2; } section.beside { align-self: start; } }
@media (min-width: 120rem) { header, main, footer { max-width: 112rem; } main { grid-template-columns: repeat(5, 1fr); }
  section.wide { grid-column: span 3; } section.before { align-self: start; } }
.big { display: flex; align-items: baseline; gap: .4rem; font-size: 1.9rem; font-weight: 600; line-height: 1.1; }
.big span { font-size: .85rem; font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; height: 3.2rem; margin: .6rem 0 .3rem; }
svg path { fill: none; stroke: var(--mark); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
svg path.area { fill: var(--mark); opacity: .12; stroke: none; }
.axis { margin: 0 0 .7rem; color: var(--soft); font-size: .8rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; padding: .25rem .5rem .25rem 0; border-top: 1px solid var(--line); }
th { color: var(--soft); font-weight: 400; border-top: 0; }
td { overflow-wrap: anywhere; }
td.short { white-space: nowrap; }
td.number, th.number { text-align: right; padding-right: 2rem; }
@media (max-width: 30rem) { header, main, footer { padding-left: .75rem; padding-right: .75rem; }
  td.number, th.number { padding-right: .6rem; } }
footer { color: var(--soft); padding-bottom: 2rem; }
a { color: var(--mark); }
`;

const BODY = `
<header>
  <h1>netsy <span id="name"></span></h1>
  <span id="state" role="status"></span>
  <p id="what"></p>
  <div id="trouble" role="alert"></div>
</header>
<noscript><p>This page needs its script; <a href="status.json">status.json</a> and <a href="metrics">metrics</a> do not.</p></noscript>
<main>
  <section aria-labelledby="h-writes"><h2 id="h-writes">Writes</h2>
    <div class="big"><b id="writes">–</b><span>per second</span></div>
    <svg id="g-writes" role="img" aria-label="Writes per second in the last ten minutes" viewBox="0 0 120 32" preserveAspectRatio="none"></svg><p class="axis"></p>
    <dl id="d-writes"></dl></section>
  <section aria-labelledby="h-latency"><h2 id="h-latency">Latency of writes</h2>
    <div class="big"><b id="p50">–</b><span>ms, half of the writes</span></div>
    <svg id="g-latency" role="img" aria-label="Latency of writes, 99th percentile, in the last ten minutes" viewBox="0 0 120 32" preserveAspectRatio="none"></svg><p class="axis"></p>
    <dl id="d-latency"></dl></section>
  <section aria-labelledby="h-puts"><h2 id="h-puts">Store and cost</h2>
    <div class="big"><b id="puts">–</b><span>PUTs per second</span></div>
    <svg id="g-puts" role="img" aria-label="PUTs per second in the last ten minutes" viewBox="0 0 120 32" preserveAspectRatio="none"></svg><p class="axis"></p>
    <dl id="d-puts"></dl></section>
  <section aria-labelledby="h-primary"><h2 id="h-primary">Primary</h2><dl id="d-primary"></dl></section>
  <section aria-labelledby="h-log"><h2 id="h-log">Log and cache</h2><dl id="d-log"></dl></section>
  <section class="before" aria-labelledby="h-snapshots"><h2 id="h-snapshots">Snapshots and restore points</h2><dl id="d-snapshots"></dl></section>
  <section class="beside before" aria-labelledby="h-reads"><h2 id="h-reads">Reads, watches, leases</h2><dl id="d-reads"></dl></section>
  <section class="wide" aria-labelledby="h-slow"><h2 id="h-slow">Slow requests</h2>
    <p id="no-slow">None since the start.</p>
    <table id="slow" hidden><thead><tr><th scope="col">ended</th><th scope="col">method</th><th scope="col" class="number">took</th><th scope="col">answer</th></tr></thead><tbody></tbody></table>
  </section>
</main>
<footer><p>Every two seconds from <a href="status.json">status.json</a>. More: <a href="metrics">metrics</a>,
<a href="health">health</a>, <a href="readyz?verbose">readyz</a>, <a href="version">version</a>. <span id="asked"></span></p></footer>
`;

/**
 * The document, which shows `status` at once, without another request: who sees it, or takes a picture of it, need not
 * wait. The status is data, which browsers do not run, and can't end its element: it has no `<`.
 */
export function pageOf(status: ServerStatus): string {
  const first = JSON.stringify(status).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>netsy</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>${STYLE}</style></head><body>${BODY}<script type="application/json" id="first">${first}</script><script>${PAGE_SCRIPT}</script></body></html>
`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** Headers that the page is sent with. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': [
    "default-src 'none'",
    `script-src ${hashOf(PAGE_SCRIPT)}`,
    `style-src ${hashOf(STYLE)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer',
};
