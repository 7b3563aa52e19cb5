// Looks at the live page of a running service in headless Chromium.
//
//   node serve/tests/page/page.mjs http://127.0.0.1:8080/ OUT [TEXT...]
//
// Waits until the page shows the flow; fails if it does not within 20 seconds, if the page or its console tells of an
// error, if one of the texts is not there ("ready", "replies" and the names of the service's models need not be given),
// or if anything sticks out to the side. Leaves pictures in OUT: 1280 and 400 pixels wide, light and dark.
//
// Needs Node 18 or later and Chromium, and nothing from npm: Chromium is driven through its own pipe (Debian: nodejs,
// chromium). CHROMIUM names another program than `chromium`.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [url, out, ...texts] = process.argv.slice(2);
if (!out) throw new Error('usage: page.mjs URL OUT [TEXT...]');
mkdirSync(out, { recursive: true });
const reply = await fetch(new URL('flow', url));
if (!reply.ok) throw new Error(`/flow answered ${reply.status}; expected a service without a token`);
const flow = await reply.json();
texts.push('ready', 'replies', ...flow.models.map(model => model.name));

const profile = mkdtempSync(join(tmpdir(), 'page-'));
// In a container there is no sandbox to be had; the page is our own.
const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
  '--disable-background-networking', '--hide-scrollbars', '--remote-debugging-pipe', `--user-data-dir=${profile}`];
const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'];
const program = process.env.CHROMIUM ?? 'chromium';
const browser = spawn(program, flags, { stdio });
const exited = new Promise(resolve => browser.once('exit', resolve));
browser.once('error', error => { throw new Error(`cannot start ${program} (Debian: chromium): ${error.message}`); });
process.once('exit', () => {
  browser.kill('SIGKILL');
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
});

// The DevTools protocol: JSON messages that end in a zero byte, on file descriptors 3 and 4.
const waiting = new Map();
const errors = [];
const heard = {
  'Runtime.exceptionThrown': ({ exceptionDetails: it }) => errors.push(it.exception?.description ?? it.text),
  'Runtime.consoleAPICalled': ({ type, args }) =>
    type === 'error' && errors.push(args.map(it => it.description ?? it.value).join(' ')),
  'Log.entryAdded': ({ entry }) => entry.level === 'error' && errors.push(`${entry.text} ${entry.url ?? ''}`),
};
let rest = '';
browser.stdio[4].setEncoding('utf8').on('data', data => {
  const messages = (rest + data).split('\0');
  rest = messages.pop();
  for (const { id, method, params, result, error } of messages.map(text => JSON.parse(text))) {
    if (id) error ? waiting.get(id).reject(new Error(error.message)) : waiting.get(id).resolve(result);
    else heard[method]?.(params);
  }
});
let sent = 0;
let sessionId;
function send(method, params = {}) {
  browser.stdio[3].write(`${JSON.stringify({ id: ++sent, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => waiting.set(sent, { resolve, reject }));
}
async function evaluate(expression) {
  return (await send('Runtime.evaluate', { expression, returnByValue: true })).result.value;
}

const late = setTimeout(() => {
  throw new Error(`not done after a minute; so far: ${errors.join('; ') || 'no error'}`);
}, 60_000);
const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
({ sessionId } = await send('Target.attachToTarget', { targetId, flatten: true }));
for (const domain of ['Runtime', 'Log', 'Page']) await send(`${domain}.enable`);
await send('Page.navigate', { url });
// Three answers, so that there is a line.
const shown = `document.documentElement.dataset.state === 'live'
  && document.querySelector('polyline')?.points.length > 1`;
const until = Date.now() + 20_000;
while (!await evaluate(shown) && !errors.length && Date.now() < until) await new Promise(go => setTimeout(go, 100));
if (!await evaluate(shown)) errors.push(`no flow, but: ${await evaluate('document.body.innerText')}`);

for (const width of [1280, 400]) {
  for (const scheme of ['light', 'dark']) {
    await send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false });
    await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    const { data } = await send('Page.captureScreenshot', { captureBeyondViewport: true });
    writeFileSync(join(out, `${width}-${scheme}.png`), Buffer.from(data, 'base64'));
  }
  const wide = await evaluate('document.documentElement.scrollWidth');
  if (wide > width) errors.push(`${wide} pixels of content in a window of ${width}`);
}
const text = await evaluate('document.body.innerText');
errors.push(...texts.filter(each => !text.includes(each)).map(each => `"${each}" is not on the page`));
const trouble = await evaluate('document.getElementById("trouble")?.textContent');
if (trouble) errors.push(`the page says: ${trouble}`);
sessionId = undefined;
await send('Browser.close');
clearTimeout(late);
await exited;
for (const error of new Set(errors)) console.error(`page.mjs: ${error}`);
console.log(errors.length ? 'failed' : `the page shows the flow; pictures in ${out}`);
process.exitCode = errors.length ? 1 : 0;
