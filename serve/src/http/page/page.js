// Asks for the flow once a second, and has it drawn.

import { ask, hasToken, take } from './ask.js';
import { control } from './control.js';
import { fill } from './draw.js';
import { readiness, show } from './flow.js';

const $ = id => document.getElementById(id);

/** `live`, `lost` (keeps trying) or `token` (waits for one). */
function state(now, trouble) {
  document.documentElement.dataset.state = now;
  $('token').hidden = now !== 'token';
  if ($('trouble').textContent !== trouble) $('trouble').textContent = trouble;
}

let since = null; // When the service was lost.

/** Draws; gives what went wrong: a fault of this page is said, not hidden. */
function draw(flow) {
  try {
    const who = flow.kafka?.instance ?? flow.http.listen;
    document.title = `${flow.ready ? '' : 'not ready: '}${who} – burnrec`;
    $('who').textContent = flow.kafka ? `instance ${who} of group ${flow.kafka.group}` : `HTTP only, on ${who}`;
    fill($('ready'), readiness(flow));
    show(flow, document.querySelector('main'));
    control(flow);
    return '';
  } catch (error) {
    console.error(error);
    return `This page failed: ${error.message}`;
  }
}

async function poll() {
  try {
    const reply = await ask('flow');
    if (reply.status === 401) {
      state('token', hasToken() ? 'The service does not take this token.' : '');
      $('secret').focus();
      return;
    }
    if (!reply.ok) throw new Error(`it answered ${reply.status}`);
    const flow = await reply.json();
    since = null;
    state('live', draw(flow));
  } catch (error) {
    since ??= new Date().toLocaleTimeString();
    document.title = 'no answer – burnrec';
    state('lost', `No answer from /flow since ${since} (${error.message}). Trying again every second.`);
  }
  setTimeout(poll, 1000);
}

$('token').addEventListener('submit', event => {
  event.preventDefault();
  take($('secret').value);
  $('secret').value = '';
  poll();
});

poll();
