// Attacks a service from the page of another site, in headless Chromium: by requests of that page (CSRF), by a name that leads to the
// service (DNS rebinding), and by a frame around its page.
//
//   node tests/browser/hostile.mjs http://127.0.0.1:8080/ http://127.0.0.1:8081/
//
// The first is the service's own listener, without a token, the second that of control. Fails if anything is told to the page of
// the other site; what must not have changed is looked at by who starts this.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { close, errors, evaluate, open } from './browser.mjs';

const [service, control] = process.argv.slice(2);
if (!control) throw new Error('usage: hostile.mjs SERVICE CONTROL');
const refused = [];

/** What a request of the page comes to: a status, `opaque`, or that the browser does not make it or tell of it. */
const ask = (url, how = {}) => evaluate(`fetch(${JSON.stringify(url)}, ${JSON.stringify(how)})
  .then(async reply => reply.type === 'opaque' ? 'opaque' : reply.status + ' ' + await reply.text(), error => error.name)`);

async function expect(what, found, wanted) {
  if (!wanted.test(found)) errors.push(`${what}: ${found}, expected ${wanted}`);
  else refused.push(found);
}

// The name of somebody else, which leads to the service: the page is the same for all, what it asks for is not told.
const rebound = new URL(service);
rebound.hostname = 'evil.example';
await open(rebound.href, `document.documentElement.dataset.state === 'lost'`);
const text = '{"user":1,"item":1,"items":[1]}';
for (const path of ['flow', 'metrics', 'health/ready']) await expect(path, await ask(path), /^403 .*other-host/s);
for (const path of ['v1/event', 'v1/score']) {
  await expect(path, await ask(path, { method: 'POST', body: text }), /^403 .*other-host/s);
}
// From a page of another site, which no policy binds, to the service by its own name: what a form may send too comes there, and is
// refused.
const other = createServer((_, reply) => reply.end('<!doctype html><title>evil</title><link rel=icon href=data:,><p>evil')).listen(0, '127.0.0.1');
await once(other, 'listening');
await open(`http://evil.example:${other.address().port}/`, `document.title === 'evil'`);
for (const path of ['v1/event', '-/reload']) {
  await expect(path, await ask(service + path, { method: 'POST', mode: 'no-cors', body: text }), /^opaque$/);
}
await expect('flow of another site', await ask(`${service}flow`), /^TypeError$/);
// Control asks for a token, which goes in a header that the page of another site may not send.
for (const path of ['v1/pause', 'v1/rollback']) {
  await expect(path, await ask(control + path, { method: 'POST', mode: 'no-cors' }), /^opaque$/);
}
const headers = { authorization: 'Bearer burnrec_guess', 'content-type': 'application/json' };
await expect('PUT', await ask(`${control}v1/config`, { method: 'PUT', headers, body: '{}' }), /^TypeError$/);
await expect('versions', await ask(`${control}v1/versions`, { headers }), /^TypeError$/);
// No frame shows the page of control.
const framed = await evaluate(`new Promise(done => {
  const frame = document.createElement('iframe');
  frame.onload = () => done(String(frame.contentDocument?.body?.innerText ?? 'not told'));
  frame.src = ${JSON.stringify(control)};
  document.body.append(frame);
})`);
await expect('a frame', framed, /^not told$/);
other.close();
// The browser tells of each of them.
errors.splice(0, Infinity, ...errors.filter(error => !/status of 40[13]|CORS|Failed to load resource|frame/i.test(error)));
await close(`${refused.length} attacks are refused`);
