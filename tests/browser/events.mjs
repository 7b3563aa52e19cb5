// Looks for the events of a user on the page of a running service, and has one of them answered again, in headless Chromium.
//
//   node tests/browser/events.mjs http://127.0.0.1:8081/ OUT TOKEN USER N
//
// The user has N events, of which some were replied to. Fails if they are not found, if the replay does not end well and is not
// found, if the page or its console tells of an error, or if anything sticks out to the side. Leaves pictures in OUT.
import { close, errors, evaluate, nameless, open, pictures, until } from './browser.mjs';

const [url, out, token, user, n] = process.argv.slice(2);
if (!n) throw new Error('usage: events.mjs URL OUT TOKEN USER N');
const $ = selector => `document.querySelector(${JSON.stringify(selector)})`;
const says = (selector, text) => `${$(selector)}?.innerText.includes(${JSON.stringify(text)})`;

/** Searches by fields, all others empty. */
const search = fields => evaluate(`${$('#search')}.reset(); ${Object.entries(fields).map(([name, value]) =>
  `${$('#search')}.elements[${JSON.stringify(name)}].value = ${JSON.stringify(value)};`).join(' ')} ${$('#search')}.requestSubmit()`);

await open(url, `document.documentElement.dataset.state === 'token'`);
await evaluate(`${$('#secret')}.value = ${JSON.stringify(token)}; ${$('#token')}.requestSubmit()`);
await until('the form', $('#search'));
await search({ user, outcome: 'replied' });
await until('events of the user', says('#events', `"user":${user}`));
await search({ user });
await until('all events of the user', says('#found', `${n} events.`));
await pictures(out);
errors.push(...await nameless());
await search({ user, outcome: 'replied', model: 'main' });
await until('those that were scored', says('#events', '"type":"score"'));
await evaluate(`${$('#events')}.querySelectorAll('tbody tr').forEach(row => {
  if (row.innerText.includes('"type":"score"')) window.last = row.querySelector('button');
}); window.last.click()`);
await until('it is answered again', says('#found', 'is done: replied score 1'));
const replay = await evaluate(`${$('#found')}.innerText.match(/Replay ([0-9]+) of/)[1]`);
await search({ replay });
await until('the replay is found', says('#found', '1 events.'));
await until('as such', says('#events', `replay ${replay}`));
errors.splice(0, Infinity, ...errors.filter(error => !error.includes('status of 401')));
await close(`an event of user ${user} is found and answered again; pictures in ${out}`);
