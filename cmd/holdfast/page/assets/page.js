"use strict";
// The page of one node. It listens to server-sent events while somebody looks: first
// a whole snapshot, then what changes. Only what can be seen is drawn.

const find = (id) => document.getElementById(id);
const slots = 90; // of a history, as the agent keeps it
let node = null; // the last snapshot, without streams
let ahead = 0; // milliseconds that the node's clock is ahead of ours
let startedAt = 0; // backlog at the start of a drain
const tiles = new Map(); // of the sensors' streams, by name
const outputTiles = new Map(); // by the output's name

// ---- text ----

function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

// ageText has no seconds beyond a minute: a thousand ages that tick tell nobody more.
function ageText(seconds) {
  if (seconds < 1.5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${span(seconds)} ago`;
}

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

const count = (n) => n.toLocaleString("en-GB");
const now = () => Date.now() + ahead;
const since = (ms) => (now() - ms) / 1000;
const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

function put(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

// fill puts texts into the places of a card; an empty one hides its row.
function fill(card, texts) {
  for (const [name, text] of Object.entries(texts)) put(find(card).querySelector(`[data-v=${name}]`), text);
}

function tone(element, word) {
  element.classList.remove("good", "warn", "bad");
  if (word) element.classList.add(word);
}

// ---- the node ----

function overall() {
  const failing = [...tiles.values()].filter((t) => t.stream.error).length;
  const { link, queue } = node;
  const waits = queue.backlog > 0 ? `, ${count(queue.backlog)} waiting` : "";
  const unknown = node.outputs.filter((o) => o.error).length;
  if (node.arming?.state === "triggered") return ["bad", "The alarm is triggered"];
  if (queue.failing) return ["bad", "The disk fails"];
  if (!link.connected) return ["bad", `Not connected${waits}`];
  if (link.held) return ["bad", `The backlog is held${waits}`];
  if (unknown) return ["bad", `The state of ${count(unknown)} ${unknown === 1 ? "output" : "outputs"} is unknown`];
  if (failing) return ["bad", `${count(failing)} ${failing === 1 ? "stream" : "streams"} cannot be read`];
  if (draining()) return ["warn", `Catching up${waits}`];
  const problems = node.problems.length;
  if (problems) return ["warn", problems > 1 ? `${problems} problems` : "One problem"];
  return ["good", "All is well"];
}

// draining: more waits than what is on its way.
const draining = () => node.queue.backlog > 20 && node.queue.oldest_s > 5;

function drawNode() {
  const [word, text] = overall();
  const pill = find("overall");
  put(pill, text);
  tone(pill, word);
  const { client_id: id, title, area, hardware } = node.node;
  document.title = `${title || id}: ${text.toLowerCase()}`;
  put(find("name"), title || id);
  put(find("about"), [area, title && id, hardware].filter(Boolean).join(" · "));
  put(find("version"), `holdfast ${node.node.version}, start ${node.node.boot}`);
  find("problems").hidden = node.problems.length === 0;
  const list = find("problem-list");
  if (list.textContent !== node.problems.join("")) {
    list.replaceChildren(...node.problems.map((p) => Object.assign(document.createElement("li"), { textContent: p })));
  }
  find("reactions").hidden = !node.arming && node.outputs.length === 0;
  drawAlarm();
  drawLink();
  drawBacklog();
  drawRest();
}

// What follows by itself, by the state that ends.
const follows = { arming: "Armed in", pending: "Triggers in", triggered: "The siren ends in" };
const armingTones = { disarmed: "", arming: "warn", pending: "warn", triggered: "bad" };

function drawAlarm() {
  const a = node.arming;
  find("alarm").hidden = !a;
  if (!a) return;
  const words = a.state.replaceAll("_", " ");
  tone(find("alarm").querySelector(".big"), armingTones[a.state] ?? "good");
  put(find("alarm-title"), [a.title || "Alarm", a.area].filter(Boolean).join(" · "));
  fill("alarm", {
    word: words[0].toUpperCase() + words.slice(1),
    "until-name": follows[a.state] || "Changes in",
    until: remaining(a.until),
    since: a.since ? span(since(a.since)) : "",
    by: a.by,
    open: a.open.map(called).join(", "),
    bypass: a.bypass.map(called).join(", "),
    locked: remaining(a.locked_until),
  });
}

// called is what people call a stream.
const called = (name) => tiles.get(name)?.stream.title || outputTiles.get(name)?.output.title || name;

// remaining is the time until a moment, empty if it has passed. It rounds up, so that it
// ends with 1 s.
const remaining = (ms) => (ms > now() ? span((ms - now()) / 1000 + 0.999) : "");

function drawLink() {
  const l = node.link;
  const big = find("link").querySelector(".big");
  big.classList.add("dot");
  tone(big, l.connected ? (l.held ? "warn" : "good") : "bad");
  fill("link", {
    word: l.connected ? (l.held ? "Held" : "Connected") : "Not connected",
    server: l.mqtt ? `${l.server}, MQTT ${l.mqtt}` : l.server,
    "since-name": l.connected ? "Connected for" : "Away for",
    since: span(since(l.since)),
    trip: l.round_trip_s ? (l.round_trip_s < 0.01 ? `${(l.round_trip_s * 1000).toFixed(1)} ms`
      : `${Math.round(l.round_trip_s * 1000)} ms`) : "",
    next: l.connected ? "" : l.next_try > now() ? `in ${span((l.next_try - now()) / 1000 + 1)}` : "now",
    error: l.error ? `${l.error} (${ageText(since(l.error_at))})` : "",
  });
}

function drawBacklog() {
  const q = node.queue;
  const busy = draining();
  startedAt = busy ? Math.max(startedAt, q.backlog) : 0;
  tone(find("backlog").querySelector(".big"), busy || (!node.link.connected && q.backlog) ? "warn" : "");
  const meter = find("backlog").querySelector("[data-v=meter]");
  meter.hidden = !(busy && node.link.connected);
  meter.firstElementChild.style.width = startedAt ? `${100 * (1 - q.backlog / startedAt)}%` : "0";
  fill("backlog", {
    count: count(q.backlog),
    oldest: q.backlog ? span(q.oldest_s) : "nothing waits",
    rate: busy && node.link.connected ? `${q.drain_rate.toFixed(q.drain_rate < 10 ? 1 : 0)} a second` : "",
    left: busy && q.drain_left_s >= 0 ? span(q.drain_left_s) : "",
    memory: q.memory ? count(q.memory) : "",
  });
}

// pace reckons from this start, or from midnight UTC if that is later: what a year
// like this would write, in bytes.
function pace(q) {
  const from = Math.max(node.node.started, Math.floor(now() / 86400000) * 86400000);
  const days = (now() - from) / 86400000;
  return days < 0.02 ? 0 : q.written_today / days * 365; // half an hour says little
}

function drawRest() {
  const q = node.queue, year = pace(q), years = year ? 1e12 / year : 0;
  tone(find("losses").querySelector(".big"), "");
  tone(find("losses").querySelector("[data-v=missing]"), q.missing ? "bad" : "");
  fill("losses", {
    delivered: count(q.delivered), missing: count(q.missing), dropped: count(q.dropped), aside: count(q.aside),
    skipped: count(q.skipped),
  });
  fill("disk", {
    today: bytes(q.written_today),
    commits: count(q.commits_today),
    pace: year ? `${bytes(year)} a year` : "too early to say",
    life: !year ? "" : years > 100 ? "over a century" : `${years.toFixed(years < 2 ? 1 : 0)} years`,
  });
  const big = find("clock").querySelector(".big");
  const words = { ok: "In sync", estimated: "Estimated", unsynced: "Not in sync" };
  tone(big, node.clock.quality === "ok" ? "" : "warn");
  fill("clock", {
    quality: words[node.clock.quality] || node.clock.quality,
    source: node.clock.source || "nothing",
    time: clockFormat.format(now()),
    uptime: span(since(node.node.started)),
  });
}

function drawEvents(events) {
  find("no-events").hidden = events.length > 0;
  find("events").hidden = events.length === 0;
  find("events").replaceChildren(...events.slice().reverse().map((e) => {
    const row = document.createElement("li");
    const at = new Date(e.ts), today = new Date(now()).toDateString() === at.toDateString();
    const time = document.createElement("time");
    time.dateTime = at.toISOString();
    time.textContent = (today ? "" : `${dayFormat.format(at)}, `) + clockFormat.format(at);
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = e.event.replaceAll("_", " ");
    const details = document.createElement("span");
    details.className = "details";
    details.textContent = Object.entries(e.details || {}).map(([k, v]) =>
      `${k.replaceAll("_", " ")}: ${typeof v === "object" ? JSON.stringify(v) : v}`).join(", ");
    row.append(time, name, details);
    return row;
  }));
}

// ---- streams ----

// A Tile is one stream. It draws itself only while it can be seen.
class Tile {
  constructor(stream) {
    this.root = find("tile").content.firstElementChild.cloneNode(true);
    this.parts = {};
    for (const part of ["number", "unit", "mark", "cause", "fault", "age", "range", "line", "area", "place"]) {
      this.parts[part] = this.root.querySelector(`.${part}`);
    }
    this.label(stream);
    this.seen = false;
    this.take(stream);
  }

  // label shows what people call a thing, and below it where it is and its identifier. Without
  // a name the identifier takes its place.
  label({ name, title, area }) {
    const head = this.root.querySelector("h3"), words = title || name;
    if (head.textContent !== words) { // a line may break behind each _ of an identifier
      const parts = title ? [title] : name.split(/(?<=_)/);
      head.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
    }
    put(this.parts.place, [area, title && name].filter(Boolean).join(" · "));
  }

  // take notes what is new of the stream. The agent's slots begin at other moments than
  // ours, which nobody sees in an hour.
  take(stream) {
    const history = stream.history ? stream.history.values.slice() : this.history || [];
    this.step = stream.history ? stream.history.step_s : this.step || 40;
    if (stream.history || !this.slotEnd) {
      this.slotEnd = now() + this.step * 1000;
      this.sum = 0;
      this.n = 0;
    }
    this.history = history;
    this.stream = stream;
    this.label(stream);
    this.roll();
    if (!stream.history && stream.value !== null) {
      this.sum += stream.value;
      this.n++;
      history[Math.max(history.length - 1, 0)] = this.sum / this.n;
    }
    if (this.seen) this.draw();
  }

  roll() {
    while (now() > this.slotEnd) {
      this.history.push(null);
      if (this.history.length > slots) this.history.shift();
      this.slotEnd += this.step * 1000;
      this.sum = this.n = 0;
    }
  }

  draw() {
    const s = this.stream, p = this.parts;
    this.roll();
    this.root.classList.toggle("failing", !!s.error);
    this.root.classList.toggle("alarm", s.alarm && !s.error && s.value === 1);
    p.mark.hidden = !s.alarm;
    put(p.number, s.error ? "Cannot be read" : s.value === null ? "No reading yet" : s.state || minus(s.value));
    put(p.unit, s.error || s.state || s.value === null ? "" : s.unit);
    put(p.fault, s.error);
    this.drawHistory();
    this.age();
  }

  age() {
    const s = this.stream;
    put(this.parts.age, !s.at ? "" : s.error ? `for ${span(since(s.at))}` : ageText(since(s.at)));
  }

  drawHistory() {
    const s = this.stream, points = [], known = this.history.filter((v) => v !== null);
    let low = Math.min(...known), high = Math.max(...known), held = null;
    put(this.parts.range, known.length < 2 || s.state ? "" : rangeText(known.concat(s.value ?? [])));
    if (s.state) [low, high] = [0, 1];
    const y = (v) => high === low ? 22 : 40 - 36 * (v - low) / (high - low);
    const x = (i) => 240 * (slots - this.history.length + i) / (slots - 1);
    let line = "", area = "", open = -1;
    const close = (i) => { if (open >= 0 && i > open) area += `V44H${x(open).toFixed(1)}Z`; open = -1; };
    this.history.forEach((v, i) => {
      if (v === null && s.sparse && !s.error) v = held;
      if (v === null) { close(i); return; }
      held = v;
      const at = `${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
      if (open < 0) { line += `M${at}`; area += `M${x(i).toFixed(1)} 44L${at}`; open = i; }
      else { const step = s.state ? `H${x(i).toFixed(1)}V${y(v).toFixed(1)}` : `L${at}`; line += step; area += step; }
    });
    close(this.history.length);
    this.parts.line.setAttribute("d", known.length > 1 || s.sparse ? line : "");
    this.parts.area.setAttribute("d", known.length > 1 || s.sparse ? area : "");
  }
}

// An OutputTile is one output. Its stream, which comes apart from it, is its history.
class OutputTile extends Tile {
  constructor(output) {
    super({ name: output.name, title: output.title, area: output.area, unit: "", state: "", error: "", value: null, alarm: true, sparse: true, at: 0 });
    this.output = output;
  }

  takeOutput(output) {
    this.output = output;
    this.label(output);
    if (this.seen) this.draw();
  }

  draw() {
    const o = this.output, p = this.parts;
    this.roll();
    this.root.classList.toggle("failing", !!o.error);
    this.root.classList.toggle("alarm", o.state === "on");
    put(p.number, o.state);
    put(p.fault, o.error);
    put(p.cause, o.by ? `by ${o.by}` : "");
    this.drawHistory();
    this.age();
  }

  age() {
    const o = this.output, rest = remaining(o.rest_until);
    put(this.parts.age, o.since ? ageText(since(o.since)) : "");
    put(this.parts.range, o.until > now() ? `for another ${remaining(o.until)}` : rest && `rests for ${rest}`);
  }
}

// takeOutputs is told all outputs each time: they are few.
function takeOutputs(outputs) {
  const names = new Set(outputs.map((o) => o.name));
  for (const [name, tile] of outputTiles) {
    if (!names.has(name)) { watcher.unobserve(tile.root); tile.root.remove(); outputTiles.delete(name); }
  }
  for (const o of outputs) {
    const tile = outputTiles.get(o.name);
    if (tile) { tile.takeOutput(o); continue; }
    const added = new OutputTile(o);
    added.root.dataset.output = o.name;
    outputTiles.set(o.name, added);
    find("outputs").append(added.root);
    watcher.observe(added.root);
  }
}

const minus = (v) => String(v).replace("-", "\u2212");

// rangeText has as many decimals as its width needs: a meter of 123456 kWh moves by tenths.
function rangeText(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const decimals = Math.min(Math.max(1 - Math.floor(Math.log10(high - low)), 0), 9);
  const short = (v) => minus(Number(v.toFixed(decimals)));
  return low === high ? "" : `${short(low)} to ${short(high)}`;
}

const watcher = new IntersectionObserver((entries) => {
  for (const e of entries) {
    const tile = tiles.get(e.target.dataset.name) || outputTiles.get(e.target.dataset.output);
    if (!tile) continue;
    tile.seen = e.isIntersecting;
    if (tile.seen) tile.draw();
  }
}, { rootMargin: "200px" });

function takeStreams(all, whole) {
  for (const s of all) outputTiles.get(s.name)?.take(s);
  const streams = all.filter((s) => !outputTiles.has(s.name) && !(node.arming && s.name === "alarm"));
  if (whole) {
    const names = new Set(streams.map((s) => s.name));
    for (const [name, tile] of tiles) {
      if (!names.has(name)) { watcher.unobserve(tile.root); tile.root.remove(); tiles.delete(name); }
    }
  }
  const fresh = document.createDocumentFragment();
  for (const s of streams) {
    const tile = tiles.get(s.name);
    if (tile) { tile.take(s); continue; }
    const added = new Tile(s);
    added.root.dataset.name = s.name;
    tiles.set(s.name, added);
    fresh.append(added.root);
    watcher.observe(added.root);
  }
  find("tiles").append(fresh);
  if (whole || find("faults").checked) sift();
}

// sift hides what is not looked for.
function sift() {
  const words = find("find").value.toLowerCase().split(/\s+/).filter(Boolean), faults = find("faults").checked;
  let shown = 0;
  for (const [name, tile] of tiles) {
    const text = `${name} ${tile.stream.title || ""} ${tile.stream.area || ""}`.toLowerCase();
    const there = words.every((w) => text.includes(w)) && (!faults || tile.stream.error);
    tile.root.hidden = !there;
    if (there) shown++;
  }
  put(find("shown"), shown === tiles.size ? count(shown) : `${count(shown)} of ${count(tiles.size)}`);
}

find("find").addEventListener("input", sift);
find("faults").addEventListener("change", sift);
document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !e.ctrlKey && !e.metaKey && document.activeElement !== find("find")) {
    e.preventDefault();
    find("find").focus();
  }
});

// ---- live ----

let source = null;

function take(text, whole) {
  const s = JSON.parse(text);
  ahead = s.ts - Date.now();
  const events = s.events;
  const streams = s.streams;
  node = s;
  takeOutputs(s.outputs);
  takeStreams(streams, whole);
  if (events) drawEvents(events);
  drawNode();
  put(find("live"), "live");
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource("events");
  source.addEventListener("snapshot", (e) => take(e.data, true));
  source.addEventListener("change", (e) => take(e.data, false));
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED;
    put(find("live"), "the node does not answer");
    tone(find("overall"), "");
    put(find("overall"), "No news from the node");
    if (closed) { source = null; setTimeout(listen, 5000); } // else the browser tries again itself
  };
}

// A page in the background asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && source) { source.close(); source = null; put(find("live"), "standing still"); }
  listen();
});

setInterval(() => {
  if (document.hidden || !node) return;
  for (const tile of tiles.values()) if (tile.seen && !tile.root.hidden) tile.age();
  for (const tile of outputTiles.values()) if (tile.seen) tile.age();
  drawAlarm();
}, 1000);

listen();
