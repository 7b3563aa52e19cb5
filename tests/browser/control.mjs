// Controls a running service by its page in headless Chromium, by clicks and by keys.
//
//   node tests/browser/control.mjs http://127.0.0.1:8081/ OUT TOKEN
//
// The service has a route 0 with the models `main` and `next`, which has no weight, and runs under version 1. Afterwards it runs
// under version 5, which is like the first. Fails if anything does not come about, if the page or its console tells of an error
// beside those of what is refused, or if anything sticks out to the side. Leaves pictures in OUT.
import { close, errors, evaluate, nameless, open, pictures, press, until } from './browser.mjs';

const [url, out, token] = process.argv.slice(2);
if (!token) throw new Error('usage: control.mjs URL OUT TOKEN');
const $ = selector => `document.querySelector(${JSON.stringify(selector)})`;
const says = (selector, text) => `${$(selector)}?.innerText.includes(${JSON.stringify(text)})`;
const version = n => until(`version ${n} answers`, says('#controls', `by version ${n}`));

/** Sees the dialog open with a text, writes a note and agrees. */
async function agree(text, note) {
  await until(`the dialog says ${text}`, `${$('#confirm')}.open && ${says('#confirm', text)}`);
  await evaluate(`${$('#note')}.value = ${JSON.stringify(note)}; ${$('#confirm .go')}.click()`);
}

await open(url, `document.documentElement.dataset.state === 'token'`);
await evaluate(`${$('#secret')}.value = 'burnrec_wrong'; ${$('#token')}.requestSubmit()`);
await until('a wrong token is refused', says('#trouble', 'does not take this token'));
await evaluate(`${$('#secret')}.value = ${JSON.stringify(token)}; ${$('#token')}.requestSubmit()`);
await until('the controls', $('#weights'));
await version(1);

// A weight is changed, seen and taken up; what is not agreed to is not done.
await evaluate(`${$('input[name="0/next"]')}.value = '3'; ${$('#weights')}.requestSubmit()`);
await until('a dialog', `${$('#confirm')}.open`);
await press('Escape');
await until('nothing changed', says('#outcome', 'Nothing was changed'));
await evaluate(`${$('#weights')}.requestSubmit()`);
await agree('routes[0].models.next', 'three to one');
await until('it is made', says('#outcome', 'Version 2 is made'));
await version(2);
await until('its note', says('#controls', 'three to one'));

// By the keyboard alone: the focus is on the button, Enter opens the dialog, which has the focus, and closes it.
await evaluate(`${$('button[data-act=pause]')}.focus()`);
await press('Enter');
await until('a dialog', `${$('#confirm')}.open && document.activeElement.id === 'note'`);
await press('Enter');
await until('the flow pauses', says('#controls', 'The flow is paused, by version 3'));
await evaluate(`${$('button[data-act=resume]')}.click()`);
await agree('run', 'a look was had');
await version(4);
await evaluate(`${$('button[data-act=rollback][value="1"]')}.click()`);
await agree('routes[0].models.next', 'enough');
await version(5);
await until('the weight of before', `${$('input[name="0/next"]')}.value === '0'`);

// What is wrong is refused whole, by the name of the field.
await evaluate(`${$('details')}.open = true; ${$('#config')}.value = ${$('#config')}.value.replace('"batch_events": ', '"batch_events": -');
  ${$('#whole')}.requestSubmit()`);
await until('it is refused', says('#outcome', 'batch_events'));
await pictures(out);
errors.push(...await nameless());
const refused = errors.filter(error => /status of (401|422)/.test(error));
errors.splice(0, Infinity, ...errors.filter(error => !refused.includes(error)));
if (refused.length !== 3) errors.push(`${refused.length} refusals: ${refused}; expected no token, a wrong one, a wrong config`);
await close(`the page controls the service; pictures in ${out}`);
