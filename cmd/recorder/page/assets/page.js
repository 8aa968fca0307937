// The page of the recorder: the fleet, a node, a stream. It reads the HTTP API, see
// /api/openapi.json, and shows text that devices send with textContent only.
'use strict';

const main = document.getElementById('main');
const ranges = {hour: 3600e3, day: 86400e3, week: 7 * 86400e3, year: 365 * 86400e3};
let chart = null; // the uPlot that is shown
let turn = 0;     // counts views: an answer to an older one is dropped

// element makes an element with properties and children; children that are text are text.
function element(tag, properties, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) e.setAttribute(name, value);
  e.append(...children.map((c) => c instanceof Node ? c : String(c)));
  return e;
}

async function ask(path) {
  const answer = await fetch(path, {headers: {Accept: 'application/json'}});
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

const when = (ms) => ms ? new Date(ms).toLocaleString() : '–';

function duration(seconds) {
  if (seconds === null) return '–';
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= size) return `${Math.round(seconds / size)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

function table(name, head, rows) {
  const line = (cell, cells) => element('tr', {}, ...cells.map((c) => element(cell, cell === 'th' ? {scope: 'col'} : {}, c)));
  // A wide table scrolls by itself, so it has to take the focus of a keyboard.
  return element('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': name},
    element('table', {}, element('thead', {}, line('th', head)), element('tbody', {}, ...rows.map((r) => line('td', r)))));
}

const link = (text, ...path) => element('a', {href: '#/' + path.map(encodeURIComponent).join('/')}, text);
const mark = (text, kind) => element('span', {class: kind}, text);

async function fleet() {
  const {at, devices} = await ask('/api/fleet');
  const rows = devices.map((d) => [
    link(d.device, d.device),
    d.online === null ? '–' : mark(d.online ? 'online' : 'offline', d.online ? 'good' : 'bad'),
    when(d.online_since),
    d.last_at ? `${duration((at - d.last_at) / 1000)} ago` : '–',
    d.status.backlog ?? '–', duration(d.status.oldest_seconds), d.status.clock || '–',
    d.faults.length ? mark(d.faults.length, 'bad') : 0,
    d.missing ? mark(d.missing, 'bad') : 0,
    d.status.version || '–',
  ]);
  return [element('h2', {}, `Fleet: ${devices.length} ${devices.length === 1 ? 'node' : 'nodes'}`),
    table('Nodes', ['Node', 'State', 'Since', 'Last reading', 'Backlog', 'Oldest unsent', 'Clock', 'Faults', 'Missing', 'Version'], rows)];
}

// details returns the fields of an event except its name.
function details(e) {
  const hidden = ['ts', 'boot', 'seq', 'event'];
  return Object.entries(e.details).filter(([name]) => !hidden.includes(name))
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join(', ');
}

async function node(device) {
  const path = `/api/devices/${encodeURIComponent(device)}`;
  const [{streams}, {events, more_events}] =
    await Promise.all([ask(`${path}/streams`), ask(`${path}/events?from=${Date.now() - ranges.week}`)]);
  const rows = streams.map(({stream, last}) => [
    link(stream, device, stream, 'day'),
    !last ? '–' : last.error ? mark(last.error, 'bad') : `${last.state ?? last.value ?? '–'} ${last.unit ?? ''}`,
    when(last && last.ts), last && last.late ? 'late' : '', last && last.clock || '',
  ]);
  return [element('h2', {}, device), table('Streams', ['Stream', 'Newest', 'Measured', 'Arrived', 'Clock'], rows),
    element('h2', {}, `Events of a week${more_events ? ', the newest' : ''}`),
    events.length ? table('Events', ['At', 'Event', 'Details'], events.map((e) => [when(e.ts), e.event, details(e)]))
      : element('p', {class: 'quiet'}, 'There are none.')];
}

// periods are the alarms of a stream, each from its begin to its end, which is null of
// one that goes on. The first one may have begun before the range.
function periods({alarms}) {
  const out = [];
  for (const {ts, state} of alarms) {
    const open = out.length > 0 && out.at(-1).end === null;
    if (state === 'alarm' && !open) out.push({begin: ts, end: null});
    if (state !== 'alarm' && open) out.at(-1).end = ts;
  }
  return out;
}

async function stream(device, name, range = 'day') {
  const to = Date.now();
  const from = to - (ranges[range] || ranges.day);
  const path = `/api/devices/${encodeURIComponent(device)}/streams/${encodeURIComponent(name)}`;
  const [series, {streams}] = await Promise.all([ask(`${path}?from=${from}&to=${to}&buckets=600`),
    ask(`/api/devices/${encodeURIComponent(device)}/streams`)]);
  const unit = streams.find((s) => s.stream === name)?.last?.unit;
  const count = series.buckets.reduce((n, b) => n + b.count, 0);
  const holes = series.gaps.filter((g) => g.state !== 'filled');
  const missing = holes.reduce((n, g) => n + g.count, 0);
  const alarms = periods(series);
  const place = element('div', {class: 'chart', role: 'img',
    'aria-label': `${name}: ${count} readings, ${missing} missing, ${alarms.length} alarms`});
  return [element('h2', {}, `${device} / ${name}${unit ? `, ${unit}` : ''}`),
    element('div', {class: 'ranges'}, ...Object.keys(ranges).map((r) => {
      const a = link(r, device, name, r);
      if (r === range) a.setAttribute('aria-current', 'true');
      return a;
    })),
    count > 0 ? place : element('p', {}, 'There are no numbers in this range.'),
    element('p', {class: 'quiet'}, `${count} readings in buckets of ${duration(series.width / 1000)}; ${missing} missing or lost`
      + ' (shaded). The band is minimum to maximum; a point is a bucket with late readings'
      + `${alarms.length ? '; a bar at the top is an alarm' : ''}.`),
    ...alarms.length ? [table('Alarms', ['Alarm began', 'Ended'], alarms.map((p) =>
      [mark(when(p.begin), 'bad'), p.end === null ? mark('not yet', 'bad') : when(p.end)]))] : [],
    ...holes.length ? [table('Gaps', ['From', 'To', 'Readings', 'State', 'Why'],
      holes.map((g) => [when(g.begin), when(g.end), g.count, g.state, g.why]))] : [],
    ...count > 0 ? [() => draw(place, series)] : []];
}

// columns are the buckets as uPlot wants them: a bucket that is empty is a null, which
// breaks the line.
function columns({from, to, width, buckets}) {
  const out = [[], [], [], [], []];
  const known = new Map(buckets.map((b) => [b.ts, b]));
  for (let ts = from - from % width; ts < to; ts += width) {
    const b = known.get(ts);
    out[0].push((ts + width / 2) / 1000);
    [b && b.min, b && b.max, b && b.mean, b && b.late ? b.mean : null].forEach((v, i) => out[i + 1].push(v ?? null));
  }
  return out;
}

function draw(place, series) {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shade = (u) => {
    u.ctx.save();
    u.ctx.fillStyle = color('--bad') + '33';
    for (const g of series.gaps.filter((g) => g.state !== 'filled')) {
      const left = Math.max(u.bbox.left, u.valToPos(g.begin / 1000, 'x', true));
      const right = Math.min(u.bbox.left + u.bbox.width, u.valToPos(g.end / 1000, 'x', true));
      if (right >= left) u.ctx.fillRect(left, u.bbox.top, Math.max(2, right - left), u.bbox.height);
    }
    u.ctx.restore();
  };
  const alarms = (u) => {
    u.ctx.save();
    u.ctx.fillStyle = color('--bad');
    for (const p of periods(series)) {
      const [left, right] = [Math.max(p.begin, series.from), p.end ?? series.to].map((ms) => u.valToPos(ms / 1000, 'x', true));
      if (p.begin >= series.from) u.ctx.fillRect(left, u.bbox.top, 2, u.bbox.height);
      u.ctx.fillRect(left, u.bbox.top, Math.max(8, right - left), 8);
    }
    u.ctx.restore();
  };
  const axis = {stroke: color('--quiet'), grid: {stroke: color('--edge')}, ticks: {stroke: color('--edge')}};
  chart = new uPlot({
    width: place.clientWidth - 16, height: 360, legend: {live: true}, hooks: {drawClear: [shade], draw: [alarms]},
    scales: {x: {range: [series.from / 1000, series.to / 1000]}},
    series: [{label: 'time'}, {label: 'minimum', points: {show: false}}, {label: 'maximum', points: {show: false}},
      {label: 'mean', stroke: color('--accent'), width: 2},
      {label: 'late', stroke: color('--bad'), width: 0, paths: () => null, points: {show: true, size: 5}}],
    bands: [{series: [2, 1], fill: color('--accent') + '33'}],
    // The numbers beside the curve need as much room as the longest of them.
    axes: [axis, {...axis, size: (u, texts) => 24 + 7 * Math.max(...(texts || ['']).map((t) => String(t ?? '').length))}],
  }, columns(series), place);
}

// show draws the view that the part of the address behind # names.
async function show() {
  const mine = ++turn;
  const parts = location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
  const views = [fleet, node, stream, stream];
  let content;
  try {
    content = await views[Math.min(parts.length, 3)](...parts);
  } catch (e) {
    content = [element('p', {class: 'bad', role: 'alert'}, e.message)];
  }
  if (mine !== turn) return;
  if (chart) chart.destroy();
  chart = null;
  document.getElementById('path').replaceChildren(...parts.length > 0 ? [link('fleet'), ' / ', link(parts[0], parts[0])] : []);
  main.replaceChildren(...content.filter((c) => c instanceof Node));
  content.filter((c) => typeof c === 'function').forEach((f) => f());
}

addEventListener('hashchange', show);
addEventListener('resize', () => {
  if (chart) chart.setSize({width: chart.root.parentElement.clientWidth - 16, height: 360});
});
setInterval(() => { if (document.visibilityState === 'visible') show(); }, 60e3); // as often as hours are computed
show();
