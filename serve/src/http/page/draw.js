// Elements, and how numbers are shown. What the service says only ever becomes text and attribute values, never markup.

/** An element. Children are text, elements, lists of them, or nothing. */
export function el(tag, attributes, ...children) {
  const svg = tag === 'svg' || tag === 'polyline';
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value);
  made.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return made;
}

/** Makes `old` like `made`; what is equal stays, and with it focus, selection and scrolling. */
function patch(old, made) {
  if (old.nodeName !== made.nodeName) return old.replaceWith(made);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== made.data) old.data = made.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  fill(old, [...made.childNodes]);
}

export function fill(parent, children) {
  while (parent.childNodes.length > children.length) parent.lastChild.remove();
  const had = [...parent.childNodes];
  children.forEach((child, at) => at < had.length ? patch(had[at], child) : parent.append(child));
}

/** A table under its caption. Heads that begin with # are of numbers; the first column names the rows. */
export function table(caption, heads, rows) {
  const cell = (value, at) => at ? el('td', heads[at].startsWith('#') ? { class: 'number' } : null, value)
    : el('th', { scope: 'row' }, value);
  const head = name => el('th', { scope: 'col', class: name.startsWith('#') ? 'number' : '' }, name.replace('#', ''));
  return el('section', null, el('h2', null, caption), rows.length
    ? el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
      el('table', null, el('thead', null, el('tr', null, heads.map(head))),
        el('tbody', null, rows.map(row => el('tr', null, row.map(cell))))))
    : el('p', { class: 'soft' }, 'none yet'));
}

const grouped = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', minimumFractionDigits: 2, maximumFractionDigits: 2 });
const one = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = n => n < 1e9 ? grouped.format(n) : n < 1e15 ? short.format(n) : n.toExponential(2);
export const rate = n => n === null ? '–/s' : `${n < 1000 ? one.format(n) : count(Math.round(n))}/s`;
export const percent = share => `${Math.round(share * 1000) / 10} %`;
export const bytes = n => n < 2 ** 30 ? `${one.format(n / 2 ** 20)} MiB` : `${one.format(n / 2 ** 30)} GiB`;

export function duration(seconds) {
  const [d, h, min] = [seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60].map(Math.floor);
  if (d) return `${d} d ${h} h`;
  return h ? `${h} h ${min} min` : min ? `${min} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}
