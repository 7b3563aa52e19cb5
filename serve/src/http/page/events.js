// What happened to events: a search, what is known of each that is found, and its replay.

import { json } from './ask.js';
import { el, fill, table } from './draw.js';

const $ = id => document.getElementById(id);

const FIELDS = {
  user: 'user', item: 'item', id: 'id of the request', source: 'source (topic/partition/offset)',
  from: 'from (2026-11-28T10:00:00Z)', to: 'to', reason: 'reason', model: 'model, version or hash', replay: 'replay',
};
const OUTCOMES = ['replied', 'rejected', 'filtered', 'expired', 'dropped'];
const PAGE = 25;
let asked = null; // The query of what is shown.
let cursor = null; // Where the next page begins.
let found = []; // What is shown, the newest first.

/** Draws the form to search by, once; `replays` is whether there is a topic to read events from again. */
export function happened(into, replays) {
  if (into.childElementCount) return;
  fill(into, [
    el('h3', { id: 'events-title' }, 'What happened to events'),
    el('form', { id: 'search', role: 'search', 'aria-labelledby': 'events-title' },
      el('div', { class: 'fields' },
        Object.entries(FIELDS).map(([name, label]) =>
          el('label', null, `${label} `, el('input', { name, autocomplete: 'off', spellcheck: 'false' }))),
        el('label', null, 'outcome ', el('select', { name: 'outcome' },
          el('option', { value: '' }, 'any'), OUTCOMES.map(of => el('option', { value: of }, of))))),
      el('p', { class: 'buttons' }, el('button', null, 'Find events'))),
    el('p', { id: 'found', role: 'status' }),
    el('div', { id: 'events' }),
  ]);
  $('search').addEventListener('submit', event => {
    event.preventDefault();
    const fields = [...new FormData($('search'))].filter(([, value]) => value !== '');
    asked = new URLSearchParams([...fields, ['limit', PAGE]]);
    [found, cursor] = [[], null];
    look(replays);
  });
  $('events').addEventListener('click', event => {
    const { act, source } = event.target.dataset;
    if (act === 'more') look(replays);
    if (act === 'replay') replay(source);
  });
}

const say = text => { $('found').textContent = text; };

/** Asks for a page, and shows it after those before it. */
async function look(replays) {
  const mine = asked;
  try {
    const query = new URLSearchParams(asked);
    if (cursor) query.set('cursor', cursor);
    const page = await json(`v1/events?${query}`);
    if (asked !== mine) return; // Another search was begun meanwhile.
    found = [...found, ...page.events];
    cursor = page.cursor;
    say(`${found.length} events${cursor ? ', and there may be more' : ''}.`);
    fill($('events'), [
      found.length ? table('events', ['source', 'at', 'outcome', 'model', '#ms', 'message', ''], found.map(each => row(each, replays))) : null,
      cursor ? el('p', { class: 'buttons' }, el('button', { type: 'button', 'data-act': 'more' }, 'More')) : null,
    ].filter(Boolean));
  } catch (error) {
    say(`Not searched: ${error.message}`);
  }
}

function row(event, replays) {
  const { source, type, outcome, reason, stage, model, config, attempts } = event;
  const why = [reason && `: ${reason}`, stage && ` at ${stage}`].filter(Boolean).join('');
  const marks = [
    type, config ? `config ${config}` : '', attempts > 1 ? `${attempts} attempts` : '', event.by ? `by ${event.by}` : '',
    event.replay ? `replay ${event.replay}` : '', event.unconfirmed ? 'unconfirmed' : '',
  ].filter(Boolean).join(', ');
  const input = event.input ? JSON.stringify(event.input.value) : event.input_missing ?? 'not kept';
  return [
    source, event.at, [`${outcome}${why} `, el('small', null, marks)],
    model ? [`${model.name} ${model.version} `, el('small', null, `${model.hash}, data ${model.data.slice(0, 12)}`)] : '',
    (event.latency_us / 1000).toFixed(1), el('code', null, input),
    replays && !source.startsWith('http/') && !event.replay
      ? el('button', { type: 'button', 'data-act': 'replay', 'data-source': source, 'aria-label': `Answer ${source} again` }, 'Again') : '',
  ];
}

/** Has an event answered again, and waits for what comes of it. */
async function replay(source) {
  try {
    let now = await json(`v1/replay?source=${encodeURIComponent(source)}&note=${encodeURIComponent('from the page')}`, { method: 'POST' });
    say(`${source} is answered again, as replay ${now.replay} …`);
    while (now.state === 'running') {
      await new Promise(go => setTimeout(go, 300));
      now = await json(`v1/replays/${now.replay}`);
    }
    const ends = now.ends.map(({ outcome, of, count }) => `${outcome} ${of} ${count}`).join(', ');
    say(`Replay ${now.replay} of ${source} is ${now.state}: ${now.error ?? ends}.`);
  } catch (error) {
    say(`Not answered again: ${error.message}`);
  }
}
