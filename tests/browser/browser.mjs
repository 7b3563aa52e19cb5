// Headless Chromium, driven through its own pipe by the DevTools protocol.
//
// Needs Node 18 or later and Chromium, and nothing from npm (Debian: nodejs, chromium). CHROMIUM names another program than
// `chromium`.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// What the page or its console told of.
export const errors = [];

const profile = mkdtempSync(join(tmpdir(), 'page-'));
// In a container there is no sandbox to be had; the page is our own.
const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
  // A name of somebody else's that leads to the service, as after DNS rebinding.
  '--host-resolver-rules=MAP evil.example 127.0.0.1', '--disable-background-networking', '--hide-scrollbars', '--remote-debugging-pipe', `--user-data-dir=${profile}`];
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
export async function evaluate(expression) {
  return (await send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })).result.value;
}

// Waits until an expression holds.
export async function until(what, expression) {
  const end = Date.now() + 20_000;
  while (!await evaluate(expression)) {
    if (Date.now() > end) throw new Error(`not within 20 seconds: ${what}; but: ${await evaluate('document.body.innerText')}`);
    await new Promise(go => setTimeout(go, 50));
  }
}

const CODES = { Enter: 13, Escape: 27, Tab: 9 };

// Presses a key of the keyboard.
export async function press(key) {
  const text = key === 'Enter' ? '\r' : undefined;
  const event = { key, code: key, text, windowsVirtualKeyCode: CODES[key] };
  await send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event });
  await send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
}

// What has no name for a screen reader, of what it can be asked to do.
export async function nameless() {
  const { nodes } = await send('Accessibility.getFullAXTree');
  const acts = ['button', 'textbox', 'spinbutton', 'searchbox', 'combobox', 'dialog', 'link', 'meter', 'image', 'region'];
  return nodes.filter(({ ignored, role, name }) => !ignored && acts.includes(role?.value) && !name?.value)
    .map(({ role }) => `a ${role.value} without a name`);
}

const late = setTimeout(() => {
  throw new Error(`not done after a minute; so far: ${errors.join('; ') || 'no error'}`);
}, 60_000);

// Opens a page and waits until `shown`, an expression, holds.
export async function open(url, shown) {
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  ({ sessionId } = await send('Target.attachToTarget', { targetId, flatten: true }));
  for (const domain of ['Runtime', 'Log', 'Page']) await send(`${domain}.enable`);
  await send('Page.navigate', { url });
  const until = Date.now() + 20_000;
  while (!await evaluate(shown) && !errors.length && Date.now() < until) await new Promise(go => setTimeout(go, 100));
  if (!await evaluate(shown)) errors.push(`not shown within 20 seconds, but: ${await evaluate('document.body.innerText')}`);
}

// Leaves pictures in `out`: 1280 and 400 pixels wide, light and dark. Nothing may stick out to the side; `look` looks on at
// each width.
export async function pictures(out, look = async () => {}) {
  mkdirSync(out, { recursive: true });
  for (const width of [1280, 400]) {
    for (const scheme of ['light', 'dark']) {
      await send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false });
      await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
      const { data } = await send('Page.captureScreenshot', { captureBeyondViewport: true });
      writeFileSync(join(out, `${width}-${scheme}.png`), Buffer.from(data, 'base64'));
    }
    const wide = await evaluate('document.documentElement.scrollWidth');
    if (wide > width) errors.push(`${wide} pixels of content in a window of ${width}`);
    await look(width);
  }
}

// Ends the browser and says what was wrong.
export async function close(good) {
  sessionId = undefined;
  await send('Browser.close');
  clearTimeout(late);
  await exited;
  for (const error of new Set(errors)) console.error(error);
  console.log(errors.length ? 'failed' : good);
  process.exitCode = errors.length ? 1 : 0;
}
