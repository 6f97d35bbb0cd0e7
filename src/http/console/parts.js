'use strict';
// What the other parts are made of: elements, numbers as text, and reading of the answer.
// Everything that is shown becomes a text node: a name cannot become markup.

const $ = (id) => document.getElementById(id);

// An element: properties (class, title, on...), attributes, children; null ones are left out.
function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'width') node.style.setProperty('width', value);
    else if (name === 'class') node.className = value;
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

function fill(node, ...children) {
  node.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined));
}

const words = (code) => String(code).replaceAll('_', ' ');

// Three significant figures at most: 0.42, 12.3, 1,234, 56.7 k.
function num(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toPrecision(3)} G`;
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (size >= 1e5) return `${(value / 1e3).toPrecision(3)} k`;
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (Number.isInteger(value)) return String(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function percent(part, whole) {
  if (!(whole > 0)) return '–';
  const value = (100 * part) / whole;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} %`;
}

// Seconds as a short time.
function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${seconds < 0.01 ? (seconds * 1e3).toFixed(1) : Math.round(seconds * 1e3)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

const clock = (unix) => new Date(unix * 1000).toLocaleTimeString('en-GB');

// === the answer of /console.json ===

// An instrument's series as {labels by name, total, grew}; none where it does not exist.
function series(data, name) {
  const family = data.families[name];
  if (!family) return [];
  return family.series.map(([labels, total, grew]) => ({
    of: Object.fromEntries(family.labels.map((label, at) => [label, labels[at]])),
    total,
    grew,
  }));
}

// Sums of an instrument by a label, of the series that pass: Map of word to {total, grew}.
function sums(data, name, label, passes) {
  const all = new Map();
  for (const one of series(data, name)) {
    if (passes && !passes(one.of)) continue;
    const key = label ? one.of[label] : '';
    const sum = all.get(key) || { total: 0, grew: 0 };
    sum.total += one.total;
    sum.grew += one.grew || 0;
    all.set(key, sum);
  }
  return all;
}

function sum(data, name, passes, which = 'grew') {
  let all = 0;
  for (const one of sums(data, name, null, passes).values()) all += one[which];
  return all;
}

// A quantile in seconds of pairs [bucket, count]: the upper bound of its bucket, the last known
// bound for what is over all.
function quantile(pairs, bounds, q) {
  const count = pairs.reduce((all, [, n]) => all + n, 0);
  if (!count) return null;
  let left = Math.max(1, Math.ceil(q * count));
  for (const [bucket, n] of pairs) {
    left -= n;
    if (left <= 0) return (bounds[bucket] ?? bounds[bucket - 1]) / 1e6;
  }
  return null;
}

// A table of columns {name, far, left}; a cell is text, a node, or {text, class}.
function table(node, caption, columns, rows) {
  const classes = (column) => [column.far && 'far', column.left && 'left'].filter(Boolean).join(' ') || null;
  const head = el('tr', {}, columns.map((column) => el('th', { scope: 'col', class: classes(column), title: column.title }, column.name)));
  const body = rows.map((row) => el('tr', {}, row.map((cell, at) => {
    const props = { class: classes(columns[at]) };
    return at === 0 ? el('th', { scope: 'row', ...props }, cell) : el('td', props, cell);
  })));
  const none = el('tr', {}, el('td', { colspan: columns.length, class: 'left quiet' }, 'none'));
  fill(node, caption ? el('caption', {}, caption) : null, el('thead', {}, head), el('tbody', {}, rows.length ? body : none));
}

// A bar for a part of a whole, 0 to 1.
function bar(part) {
  const full = Math.min(1, Math.max(0, part || 0));
  return el('span', { class: full > 0.9 ? 'part hot' : 'part', 'aria-hidden': 'true' }, el('i', { width: `${100 * full}%` }));
}
