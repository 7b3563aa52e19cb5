// Looks at a report in headless Chromium.
//
//   node tests/browser/report.mjs DIR/report.html OUT [TEXT...]
//
// Fails if the page or its console tells of an error, if a chart is not drawn, if two of a chart's texts lie over each
// other or one is too small to read at 1280 or 400 pixels of width, if anything is fetched, if one of the texts is not
// there, or if anything sticks out to the side. Leaves pictures in OUT.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { close, errors, evaluate, open, pictures } from './browser.mjs';

const [file, out, ...texts] = process.argv.slice(2);
if (!out) throw new Error('usage: report.mjs FILE OUT [TEXT...]');
await open(pathToFileURL(resolve(file)).href, `document.readyState === 'complete'`);

// What is wrong with the charts, in words.
const charts = `(() => {
  const wrong = [];
  const name = svg => svg.getAttribute('aria-label') ?? svg.querySelector('title')?.textContent ?? 'a chart';
  const charts = [...document.querySelectorAll('figure svg')];
  if (charts.length < 4) wrong.push(charts.length + ' charts');
  for (const svg of charts) {
    const box = svg.getBoundingClientRect();
    if (!box.width || !box.height) { if (!svg.closest('details:not([open])')) wrong.push(name(svg) + ' has no size'); continue; }
    if (!svg.querySelector('path, circle, rect, line, polyline, polygon')) wrong.push(name(svg) + ' draws nothing');
    const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim());
    const boxes = texts.map(text => text.getBoundingClientRect());
    boxes.forEach((a, i) => {
      if (a.left < box.left - 1 || a.right > box.right + 1 || a.top < box.top - 1 || a.bottom > box.bottom + 1)
        wrong.push(name(svg) + ': "' + texts[i].textContent + '" sticks out');
      if (Math.min(a.height, a.width + 100) < 8) wrong.push(name(svg) + ': "' + texts[i].textContent + '" is ' + a.height + ' pixels high');
      boxes.slice(i + 1).forEach((b, j) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 2 && high > 3)
          wrong.push(name(svg) + ': "' + texts[i].textContent + '" lies over "' + texts[i + 1 + j].textContent + '"');
      });
    });
  }
  return wrong;
})()`;
await pictures(out, async width => errors.push(...(await evaluate(charts)).map(wrong => `at ${width}: ${wrong}`)));
const fetched = await evaluate('performance.getEntriesByType("resource").map(entry => entry.name)');
errors.push(...fetched.map(name => `the page fetched ${name}`));
const text = await evaluate('document.body.innerText');
errors.push(...texts.filter(each => !text.includes(each)).map(each => `"${each}" is not on the page`));
await close(`the report is drawn; pictures in ${out}`);
