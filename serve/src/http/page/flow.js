// The flow as it runs: its rates, its picture and its tables.

import { bytes, count, duration, el, fill, percent, rate, table } from './draw.js';

const WINDOW_S = 120;
let samples = []; // Of the last two minutes, oldest first: what was counted, by the service's own clock.

const total = (all, of) => all.reduce((sum, each) => sum + of(each), 0);
const failed = ({ outcome }) => outcome === 'rejected' || outcome === 'expired';
const key = ({ outcome, of, stage }) => JSON.stringify([outcome, of, stage]);

// ---- Rates ----

/** Notes what was counted; a service that was started anew begins a new history. */
function note(flow) {
  const ended = of => total(flow.ended, each => of(each) ? each.count : 0);
  const sample = {
    at: flow.uptime_s,
    in: flow.kafka ? flow.events : ended(() => true),
    replies: ended(each => each.outcome === 'replied'),
    rejects: ended(failed),
    http: flow.http.requests,
    ended: new Map(flow.ended.map(each => [key(each), each.count])),
  };
  if (samples.length && samples.at(-1).at > sample.at) samples = [];
  if (samples.length && samples.at(-1).at === sample.at) samples.pop();
  samples.push(sample);
  samples = samples.filter(({ at }) => at >= sample.at - WINDOW_S);
}

/** How much `of` grew a second between the sample at `i` and the one before it. */
function growth(of, i = samples.length - 1) {
  if (i < 1) return null;
  return Math.max(0, of(samples[i]) - of(samples[i - 1])) / (samples[i].at - samples[i - 1].at);
}

function tile(title, tone, of) {
  const now = samples.at(-1).at;
  const rates = samples.map((_, i) => growth(of, i));
  const peak = Math.max(...rates);
  const points = samples.map(({ at }, i) => [WINDOW_S - (now - at), 39 - 37 * rates[i] / (peak || 1)]).slice(1);
  const line = el('polyline', { points: points.map(xy => xy.map(n => n.toFixed(2)).join()).join(' ') });
  const label = `${title} in the last two minutes, at most ${rate(peak)}`;
  return el('section', { class: tone },
    el('h2', null, title),
    el('p', null, el('b', null, rate(rates.at(-1))), el('small', null, `peak ${rate(peak)}`)),
    el('svg', { viewBox: `0 0 ${WINDOW_S} 40`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, line));
}

// ---- The flow ----

const pair = (name, value) =>
  el('p', { class: 'pair' }, el('span', null, name), el('span', { class: 'number' }, value));
const lag = parts => parts.length ? count(total(parts, each => each.lag)) : '–';
const named = (name, ...values) => [el('h4', null, name), ...values.map(value => el('p', null, value))];

/** What left the flow at a stage, by reason. */
function out(title, tone, ends) {
  const some = ends.filter(each => each.count > 0);
  const lines = some.map(each => pair(each.outcome === 'expired' ? `expired: ${each.of}` : each.of, count(each.count)));
  return el('div', { class: `out ${tone}` }, el('h4', null, title), lines.length ? lines : el('small', null, 'none'));
}

function stage(title, contents, leaves) {
  return el('li', { class: 'stage' }, el('div', { class: 'card' }, el('h3', null, title), contents), leaves);
}

function picture(flow) {
  const { kafka, http } = flow;
  const rejects = name => flow.ended.filter(each => failed(each) && each.stage === name);
  const reject = name => out('reject', 'bad', rejects(name));
  const leftOut = name => flow.ended.filter(each => each.outcome === 'filtered' && each.stage === name);
  const filtered = leftOut('filter');
  // How many events came as far as a stage: those that ended, less those that ended before it.
  const left = ends => total(ends, each => each.count);
  const decoded = left(flow.ended) - left(rejects('queue'));
  const own = place => flow.steps.filter(step => step.place === place);
  const lost = steps => steps.reduce((sum, { name }) => sum + left(rejects(name)) + left(leftOut(name)), 0);
  const [before, after] = [own('before-score'), own('after-score')];
  const scored = decoded - left(rejects('decode')) - lost(before);
  const joined = scored - left(rejects('score'));
  const events = n => pair('events', count(n));
  const steps = some => some.map(({ name }) => stage(name, el('small', null, 'a step of one’s own'), [
    reject(name), leftOut(name).length ? out('filtered', 'warn', leftOut(name)) : null,
  ]));

  const topics = (kafka?.requests ?? []).map(topic => {
    const parts = flow.lag.filter(each => each.topic === topic);
    return named('topic', el('b', null, topic), pair('lag', lag(parts)));
  });
  const queues = flow.queues.map(({ worker, route, events, fill }) => el('li', null,
    pair(`worker ${worker} · ${route}`, count(events)),
    el('meter', { min: 0, max: 1, low: .5, high: .8, optimum: 0, value: fill, title: `${percent(fill)} of its bounds`,
      'aria-label': `fill of worker ${worker}, ${route}` })));
  const routes = flow.routes.map(({ label, models, shadow }) => [
    el('h4', null, `route ${label}`),
    models.map(({ name, share }) => pair(name, percent(share))),
    shadow ? pair(shadow, 'shadow') : null,
  ]);
  const models = flow.models.map(model => el('li', { class: 'model' },
    el('b', null, model.name), ` ${model.kind}, version ${model.version} `, el('code', null, model.hash),
    el('small', null, ` ${count(model.users)} users, ${count(model.items)} items, ${model.output}`)));
  const sinks = ['replies', 'rejects', 'state', 'receipts', 'shadow'].filter(to => kafka?.[to]);

  return el('ol', { class: 'flow' },
    stage('source', [
      topics,
      named('HTTP', http.listen, pair('requests', count(http.requests)),
        pair('now', rate(growth(of => of.http))), el('small', null, 'with those of this page')),
    ]),
    stage('queue', queues.length
      ? el('ul', { class: 'queues', tabindex: 0, 'aria-label': 'queues: events that wait' }, queues)
      : el('small', null, 'none: HTTP is answered at once'), reject('queue')),
    stage('decode', events(decoded), reject('decode')),
    steps(before),
    stage('score', [events(scored), routes, el('h4', null, 'models'), el('ul', null, models)], reject('score')),
    stage('join, filter', [
      events(joined),
      flow.join ? named('joins', flow.join.columns.join(', ') || 'no columns') : null,
      flow.join ? null : el('small', null, 'no table'),
      flow.join?.filters ? named('filters', 'by threshold') : null,
    ], flow.join?.filters || filtered.length ? out('filtered', 'warn', filtered) : null),
    steps(after),
    stage('sink', [
      events(joined - left(filtered) - lost(after)),
      sinks.map(to => named(`${to} topic`, el(to === 'replies' ? 'b' : 'span', null, kafka[to]))),
      kafka ? null : named('replies', 'in the answer over HTTP'),
    ], reject('sink')));
}

function facts(flow) {
  const { kafka } = flow;
  const all = {
    uptime: duration(flow.uptime_s),
    memory: flow.memory_bytes === null ? null : bytes(flow.memory_bytes),
    'users with history': count(flow.users),
    'partitions owned': kafka && count(flow.partitions),
    'lag, all partitions': kafka && lag(flow.lag),
    guarantee: kafka?.guarantee,
    'consumer group': kafka?.group,
    instance: kafka?.instance,
    'mode, workers': kafka && `${kafka.mode}, ${kafka.workers}`,
    brokers: kafka?.bootstrap.replaceAll(',', ', '),
    device: flow.device,
    'config version': flow.config?.version && count(flow.config.version),
    version: flow.version,
  };
  const shown = Object.entries(all).filter(([, value]) => value);
  return el('dl', { class: 'facts' },
    shown.map(([name, value]) => el('div', null, el('dt', null, name), el('dd', null, value))));
}

/** Whether the service can work, and what it warns of. */
export function readiness(flow) {
  const list = all => el('ul', null, Object.entries(all).map(([who, why]) => el('li', null, `${who}: ${why}`)));
  const box = (tone, title, text) => el('div', { class: `box ${tone}` }, el('strong', null, title), text);
  return [
    flow.ready ? box('good', 'ready', null) : box('bad', 'not ready', list(flow.reasons)),
    Object.keys(flow.warnings).length ? box('warn', 'warning', list(flow.warnings)) : null,
    flow.last_trouble ? box('warn', 'last trouble', el('p', null, flow.last_trouble)) : null,
  ].filter(Boolean);
}

/** Draws the flow into an element. */
export function show(flow, into) {
  note(flow);
  fill(into, [
    el('div', { class: 'rates' },
      tile(flow.kafka ? 'events in, from Kafka' : 'events in', 'hot', of => of.in),
      tile('replies', 'good', of => of.replies),
      tile('rejects', 'bad', of => of.rejects)),
    facts(flow),
    el('h2', null, 'flow'),
    picture(flow),
    el('div', { class: 'tables' },
      flow.kafka ? table('consumer lag', ['topic', '#partition', '#lag'],
        flow.lag.map(each => [each.topic, String(each.partition), count(each.lag)])) : null,
      table('how events ended', ['outcome', 'of', '#events', '#now'], flow.ended.map(each => [
        failed(each) ? `${each.outcome} at ${each.stage}` : each.outcome, each.of, count(each.count),
        rate(growth(of => of.ended.get(key(each)) ?? 0)),
      ])),
      flow.tenants?.length ? table('tenants', ['tenant', '#events', '#replied', '#throttled', '#waiting'],
        flow.tenants.map(each => [each.tenant, count(each.events), count(each.ended.replied ?? 0),
          count(each.throttled), count(each.waiting)])) : null),
  ]);
}
