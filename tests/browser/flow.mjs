// Looks at the live page of a running service in headless Chromium.
//
//   node tests/browser/flow.mjs http://127.0.0.1:8080/ OUT [TEXT...]
//
// Waits until the page shows the flow; fails if it does not within 20 seconds, if the page or its console tells of an
// error, if one of the texts is not there ("ready", "replies" and the names of the service's models need not be given),
// or if anything sticks out to the side. Leaves pictures in OUT.
import { close, errors, evaluate, open, pictures } from './browser.mjs';

const [url, out, ...texts] = process.argv.slice(2);
if (!out) throw new Error('usage: flow.mjs URL OUT [TEXT...]');
const reply = await fetch(new URL('flow', url));
if (!reply.ok) throw new Error(`/flow answered ${reply.status}; expected a service without a token`);
const flow = await reply.json();
texts.push('ready', 'replies', ...flow.models.map(model => model.name));

// Three answers, so that there is a line.
await open(url, `document.documentElement.dataset.state === 'live'
  && document.querySelector('polyline')?.points.length > 1`);
await pictures(out);
const text = await evaluate('document.body.innerText');
errors.push(...texts.filter(each => !text.includes(each)).map(each => `"${each}" is not on the page`));
const trouble = await evaluate('document.getElementById("trouble")?.textContent');
if (trouble) errors.push(`the page says: ${trouble}`);
await close(`the page shows the flow; pictures in ${out}`);
