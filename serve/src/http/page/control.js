// What an operator does about the flow: runs, weights, the whole config, versions, instances, the audit log. Each change is
// checked first, shown with what it would change, and made after a word of confirmation.

import { ask, json } from './ask.js';
import { el, fill, table } from './draw.js';
import { happened } from './events.js';

const $ = id => document.getElementById(id);
const JSON_HEADERS = { 'content-type': 'application/json' };
let shown = null; // What the controls were drawn for.
let newest = null; // The newest version: its number, and its tables.

const may = (you, role) => you.roles.includes(role) || you.roles.includes('admin');
const button = (act, text, more = {}) => el('button', { type: 'button', 'data-act': act, ...more }, text);
const shortly = value => value === null || value === undefined ? 'none' : JSON.stringify(value);

/** Draws the controls for who looks, and anew where another version answers. */
export async function control(flow) {
  const { you, config } = flow;
  $('control').hidden = !you;
  if (!you) return;
  const now = JSON.stringify([you, config, flow.routes]);
  if (now === shown) return;
  shown = now;
  try {
    const status = await draw(you, config);
    if (status.provenance && may(you, 'operate')) happened($('happened'), Boolean(flow.kafka));
  } catch (error) {
    shown = null;
    tell('bad', `The controls are not shown: ${error.message}`);
  }
}

function tell(tone, text) {
  $('outcome').className = `box ${tone}`;
  $('outcome').textContent = text;
}

async function draw(you, config) {
  const reply = await ask('v1/config');
  if (!reply.ok) throw new Error(`it answered ${reply.status} for the config`);
  newest = { version: Number(reply.headers.get('etag')?.replaceAll('"', '')), tables: await reply.json() };
  const [status, versions] = await Promise.all([json('v1/status'), json('v1/versions')]);
  const audit = may(you, 'admin') ? await json('v1/audit?last=50') : null;
  const changes = may(you, 'operate');
  fill($('controls'), [
    el('p', { class: 'soft' }, `You are ${you.name} (${you.roles.join(', ')}).`),
    runs(config, changes),
    changes ? weights() : null,
    changes ? whole() : null,
    history(versions, changes),
    instances(status),
    audit ? audited(audit) : null,
  ].filter(Boolean));
  // What was typed was meant for another version.
  for (const form of $('controls').querySelectorAll('form')) form.reset();
  return status;
}

// ---- What is shown ----

function runs({ version, run }, changes) {
  const others = { pause: 'paused', drain: 'draining', resume: 'running' };
  return el('section', { 'aria-label': 'whether events are taken' },
    el('h3', null, `The flow is ${run}, by version ${version}`),
    changes ? el('p', { class: 'buttons' }, Object.entries(others).filter(([, state]) => state !== run)
      .map(([act]) => button(act, act[0].toUpperCase() + act.slice(1)))) : null);
}

/** A field for the weight of each model in each route. */
function weights() {
  const { routes = [], models = {} } = newest.tables;
  if (!routes.length) return null;
  const field = (route, at) => Object.keys(models).map(name => el('label', null, `${name} `,
    el('input', { type: 'number', min: 0, step: 'any', name: `${at}/${name}`, value: route.models?.[name] ?? '',
      'aria-label': `weight of ${name} in route ${at}` })));
  const label = route => [route.tenant, route.topic, ...Object.entries(route.headers ?? {}).map(pair => pair.join('='))]
    .filter(Boolean).join(', ') || 'all';
  return el('form', { id: 'weights', 'data-act': 'weights' },
    el('h3', null, 'Weights of models'),
    routes.map((route, at) => el('fieldset', null, el('legend', null, `route ${at}: ${label(route)}`), field(route, at))),
    el('p', { class: 'buttons' }, el('button', null, 'Change weights')));
}

function whole() {
  const text = JSON.stringify(newest.tables, null, 2);
  return el('details', null, el('summary', null, 'All that may change'),
    el('form', { id: 'whole', 'data-act': 'whole' },
      el('label', { for: 'config' }, 'The config as JSON: models, routes, tenants, output, table, unknown, limits, flow, failures'),
      el('textarea', { id: 'config', name: 'config', rows: 18, spellcheck: 'false' }, text),
      el('p', { class: 'buttons' }, el('button', null, 'Change config'))));
}

function history(versions, changes) {
  const rows = versions.toReversed().slice(0, 50).map(of => [
    String(of.version), of.at, of.by, of.act, of.note,
    el('ul', null, of.changes.map(change =>
      el('li', null, el('code', null, change.field), ` ${shortly(change.from)} → ${shortly(change.to)}`))),
    changes && of.version !== newest.version ? button('rollback', `Roll back to ${of.version}`, { value: of.version })
      : of.answers ? 'answers' : '',
  ]);
  return table('versions of the config', ['version', 'at', 'by', 'act', 'note', 'changes', ''], rows);
}

function instances(status) {
  const rows = Object.entries(status.instances ?? {}).map(([name, of]) =>
    [name, String(of.version), new Date(of.at_ms).toLocaleTimeString(), of.trouble ?? '']);
  const models = status.models.map(of => [of.model, of.version, of.hash, String(of.replies)]);
  return el('div', { class: 'tables' },
    table('models and their replies', ['model', 'version', 'hash', '#replies'], models),
    rows.length ? table('instances', ['instance', '#version', 'heard', 'trouble'], rows) : null);
}

function audited(lines) {
  const rows = lines.toReversed().map(line =>
    [line.at, line.by ?? '', line.call ?? '', line.status === null || line.status === undefined ? '' : String(line.status), line.text]);
  return table('the last calls', ['at', 'by', 'call', '#status', 'what came of it'], rows);
}

// ---- What is done ----

/** Asks for a word of confirmation, with what would change; gives the note, or null. */
function confirmed(title, changes) {
  $('confirm-title').textContent = title;
  fill($('confirm-changes'), [changes.length
    ? table('what changes', ['field', 'from', 'to'], changes.map(of => [of.field, shortly(of.from), shortly(of.to)]))
    : el('p', null, 'Nothing would change.')]);
  $('note').value = '';
  $('confirm').returnValue = '';
  $('confirm').showModal();
  return new Promise(resolve => $('confirm').addEventListener('close',
    () => resolve($('confirm').returnValue === 'go' ? $('note').value : null), { once: true }));
}

/** Checks a change, has it confirmed and makes it. */
async function change(title, path, how = {}) {
  const with_ = query => json(`${path}${path.includes('?') ? '&' : '?'}${query}`, { method: 'POST', ...how });
  try {
    const { changes } = await with_('check=true');
    const note = await confirmed(title, changes);
    if (note === null) return tell('warn', 'Nothing was changed.');
    const { version } = await with_(`note=${encodeURIComponent(note)}`);
    shown = null;
    tell('good', `Version ${version} is made.`);
  } catch (error) {
    tell('bad', `Refused: ${error.message}`);
  }
}

function put(title, tables) {
  const headers = { ...JSON_HEADERS, 'if-match': `"${newest.version}"` };
  return change(title, 'v1/config', { method: 'PUT', headers, body: JSON.stringify(tables) });
}

function newWeights(form) {
  const tables = structuredClone(newest.tables);
  for (const { name, value } of form.elements) {
    const at = name.indexOf('/');
    if (at < 0) continue;
    const { models } = tables.routes[name.slice(0, at)];
    if (value === '') delete models[name.slice(at + 1)];
    else models[name.slice(at + 1)] = Number(value);
  }
  return tables;
}

const ACTS = {
  pause: () => change('Pause the flow?', 'v1/pause'),
  drain: () => change('Drain the flow?', 'v1/drain'),
  resume: () => change('Resume the flow?', 'v1/resume'),
  rollback: ({ value }) => change(`Roll back to version ${value}?`, `v1/rollback?to=${value}`),
  weights: form => put('Change the weights?', newWeights(form)),
  whole: form => {
    let tables;
    try {
      tables = JSON.parse(form.elements.config.value);
    } catch (error) {
      return tell('bad', `Refused: the config is not JSON: ${error.message}`);
    }
    return put('Change the config?', tables);
  },
};

$('controls').addEventListener('click', event => {
  const asked = event.target.closest('button[data-act]');
  if (asked) ACTS[asked.dataset.act](asked);
});
$('controls').addEventListener('submit', event => {
  event.preventDefault();
  ACTS[event.target.dataset.act](event.target);
});
