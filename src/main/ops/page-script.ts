/**
 * The status page's script, for browsers, as text. It puts what it is told into text nodes only, never into markup.
 * While the server does not answer, the last values stay, and the page says how old they are. When it has another
 * version, the page is that version's from then on.
 */
export const PAGE_SCRIPT = `
'use strict';
const $ = (id) => document.getElementById(id);
const CODES = ['OK', 'Canceled', 'Unknown', 'InvalidArgument', 'DeadlineExceeded', 'NotFound', 'AlreadyExists',
  'PermissionDenied', 'ResourceExhausted', 'FailedPrecondition', 'Aborted', 'OutOfRange', 'Unimplemented', 'Internal',
  'Unavailable', 'DataLoss', 'Unauthenticated'];
const number = (value, digits) => value === undefined || value === null ? '–'
  : value.toLocaleString('en', { maximumFractionDigits: digits === undefined ? (Math.abs(value) < 10 ? 1 : 0) : digits });
const bytes = (value) => {
  if (value === undefined || value === null) return '–';
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]])
    if (value >= size) return number(value / size, 1) + ' ' + unit;
  return number(value, 0) + ' bytes';
};
const span = (ms) => {
  for (const [unit, size] of [['days', 864e5], ['h', 36e5], ['min', 6e4]])
    if (ms >= 2 * size) return Math.floor(ms / size) + ' ' + unit;
  return Math.max(0, Math.round(ms / 1000)) + ' s';
};
const took = (ms) => ms >= 10000 ? number(ms / 1000, 1) + ' s' : number(ms, 0) + ' ms';
const dollars = (value) => '$' + (value >= 100 ? number(value, 0) : value.toFixed(value === 0 || value >= 0.1 ? 2 : 5));

function list(id, pairs) {
  const nodes = [];
  for (const [name, value] of pairs) {
    const term = document.createElement('dt');
    const text = document.createElement('dd');
    term.textContent = name;
    text.textContent = value;
    nodes.push(term, text);
  }
  $(id).replaceChildren(...nodes);
}

function graph(id, values, unit) {
  const top = Math.max(...values.map((value) => value || 0), 1e-9);
  const step = 120 / 119;
  const first = 120 - values.length;
  if (values.length < 2) {
    $(id).nextElementSibling.textContent = 'gathering …';
    return $(id).replaceChildren();
  }
  const path = (d, name) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    made.setAttribute('d', d);
    if (name) made.setAttribute('class', name);
    return made;
  };
  // Where there is no value there is no line: each run of values has its own, from where its first interval began.
  const runs = [];
  let run;
  for (const [index, value] of values.entries()) {
    if (value === undefined || value === null) run = undefined;
    else {
      const x = (first + index) * step;
      const y = (31 - 29 * (value / top)).toFixed(2);
      if (run === undefined) {
        const from = Math.max(0, x - step).toFixed(2);
        run = { from, line: 'M' + from + ',' + y };
        runs.push(run);
      }
      run.to = x.toFixed(2);
      run.line += 'L' + run.to + ',' + y;
    }
  }
  $(id).replaceChildren(path(runs.map(({ line, from, to }) => line + 'L' + to + ',32L' + from + ',32Z').join(''), 'area'),
    path(runs.map(({ line }) => line).join('')));
  $(id).nextElementSibling.textContent = runs.length === 0 ? 'nothing in the last ten minutes'
    : 'last ten minutes, at most ' + number(top) + unit;
}

const ALARMS = {
  'ALARM NOSPACE': ': what adds data is refused. Either the database is at its quota (compact, delete or raise it, then etcdctl alarm disarm), or the disk under the cache is full.',
  'ALARM CORRUPT': ': this was raised by hand; writes are refused until it is disarmed.',
};
function stateOf(now) {
  const role = now.own === undefined ? 'recovering'
    : { leading: 'primary', lapsed: 'primary whose lease has run out', standby: 'standby' }[now.own.leadership];
  if (now.own !== undefined && now.own.leadership === 'standby' && now.primary !== undefined) return [role, 'good', ''];
  if (now.own === undefined) return [role, '', ''];
  if (now.trouble === undefined) return ['healthy ' + role, 'good', ''];
  return [role + ', not healthy', 'bad', now.trouble + (ALARMS[now.trouble] || '')];
}

function show(now) {
  const { own, etcd, history, totals } = now;
  const last = history[history.length - 1] || {};
  const [state, kind, trouble] = stateOf(now);
  $('name').textContent = now.name === 'default' ? '' : now.name;
  document.title = (kind === 'bad' ? '✗ ' : '') + 'netsy ' + state;
  $('state').textContent = state;
  $('state').className = kind;
  $('trouble').textContent = trouble;
  $('what').textContent = now.version + ' (etcd API ' + now.etcdVersion + '), up ' + span(now.nowMs - now.startedMs)
    + ', ' + now.store;
  $('writes').textContent = number(last.writesPerSecond);
  $('p50').textContent = number(last.writeMsP50);
  $('puts').textContent = number(last.putsPerSecond);
  graph('g-writes', history.map((one) => one.writesPerSecond), '');
  graph('g-latency', history.map((one) => one.writeMsP99), ' ms (99 %)');
  graph('g-puts', history.map((one) => one.putsPerSecond), '');
  // A directory costs nothing per request.
  const priced = !now.store.startsWith('file:');
  const perThousand = last.writesPerSecond > 0 ? number((1000 * last.putsPerSecond) / last.writesPerSecond, 0) : '–';
  list('d-puts', [['per 1,000 writes', perThousand], ['cost a month', priced && last.dollarsPerHour !== undefined ? dollars(last.dollarsPerHour * 730) : '–'],
    ['since the start', number(totals.puts, 0) + ' PUTs' + (priced ? ', ' + dollars(totals.dollars) : '')],
    ['failed requests', number(totals.storeErrors, 0)]]);
  if (own === undefined || etcd === undefined) return;
  list('d-writes', [['reads per second', number(last.readsPerSecond)], ['waiting', number(own.queue.requests, 0) + ', ' + bytes(own.queue.bytes)],
    ['the oldest waits', own.oldestWriteMs > 0 ? took(own.oldestWriteMs) : '–'],
    ['refused, queue full', number(own.writesRefused, 0)], ['failed', number(etcd.failed, 0)]]);
  list('d-latency', [['99 % of the writes', last.writeMsP99 === undefined || last.writeMsP99 === null ? '–' : took(last.writeMsP99)],
    ['batches in flight', number(own.batchesInFlight, 0)]]);
  const certificate = now.tls.certificate && 1000 * now.tls.certificate;
  list('d-primary', [['primary', { leading: 'this server', lapsed: 'its lease has run out' }[own.leadership] || (now.primary === undefined ? 'none is seen'
      : now.primary.name + ' at ' + now.primary.clientUrls.join(', '))],
    ['epoch', number(own.epoch, 0)], ['takeovers seen', number(etcd.leaderChanges - 1, 0)], ['member', etcd.memberId],
    ['certificate', certificate === undefined ? 'none: plain text' : certificate <= now.nowMs ? 'has run out' : 'for ' + span(certificate - now.nowMs)],
    ['alarms', etcd.alarms.length === 0 ? 'none' : etcd.alarms.map((one) => one.type).join(', ')]]);
  list('d-log', [['end of the log', 'chunk ' + number(etcd.committed, 0)],
    ['applied here', etcd.applied === etcd.committed ? 'all of it' : number(etcd.committed - etcd.applied, 0) + ' chunks behind'],
    ['keys', number(etcd.keys, 0)], ['revision', number(etcd.revision, 0)], ['compacted', etcd.compactRevision > 0 ? 'to ' + number(etcd.compactRevision, 0) : 'never'],
    ['cache', bytes(own.cacheBytes.total)], ['of it in use', bytes(own.cacheBytes.inUse)], ['its write-ahead log', bytes(own.cacheBytes.wal)],
    ['quota', now.quotaBytes === 0 ? 'none' : bytes(now.quotaBytes)]]);
  const snapshots = own.snapshots;
  list('d-snapshots', snapshots === undefined || snapshots === null ? [['known to', 'the primary']] : [
    ['snapshots', number(snapshots.count, 0)],
    ['newest', snapshots.newestMs === 0 ? '–' : span(now.nowMs - snapshots.newestMs) + ' ago'],
    ['oldest', snapshots.oldestMs === 0 ? '–' : span(now.nowMs - snapshots.oldestMs) + ' ago'],
    ['since the newest', number(own.sinceSnapshot.records, 0) + ' records, ' + bytes(own.sinceSnapshot.bytes)]]);
  list('d-reads', [['watch streams', number(etcd.watchStreams, 0)],
    ['watchers', number(etcd.watchersSynced + etcd.watchersUnsynced, 0)],
    ['catching up', number(etcd.watchersUnsynced, 0)],
    ['furthest behind', own.watch.lagRevisions === 0 ? '–' : number(own.watch.lagRevisions, 0) + ' revisions'],
    ['events under way', number(etcd.eventsPending, 0) + ', ' + bytes(own.watch.pendingBytes)],
    ['reads waiting', number(own.readsWaiting, 0)],
    ['answers not taken', bytes(own.answers.bytes) + (own.answers.held > 0 ? ', ' + number(own.answers.held, 0) + ' calls wait' : '')],
    ['leases', number(now.leases, 0)]]);
}

function showSlow(slow, nowMs) {
  $('slow').hidden = slow.length === 0;
  $('no-slow').hidden = slow.length > 0;
  $('slow').tBodies[0].replaceChildren(...slow.map((call) => {
    const row = document.createElement('tr');
    const cells = [span(nowMs - call.atMs) + ' ago', call.method, took(call.tookMs), CODES[call.code] || String(call.code)];
    for (const [index, text] of cells.entries()) {
      const cell = row.insertCell();
      cell.textContent = text;
      cell.className = { 0: 'short', 2: 'short number' }[index] || '';
    }
    return row;
  }));
}

function showAll(now) {
  show(now);
  showSlow(now.slow, now.nowMs);
}

let askedAt = Date.now();
async function ask() {
  try {
    const answer = await fetch('status.json', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error('it answers ' + answer.status);
    const now = await answer.json();
    if (now.version !== shown.version) return location.reload();
    showAll(now);
    askedAt = Date.now();
    $('asked').textContent = '';
  } catch (error) {
    $('state').textContent = 'no answer';
    $('state').className = 'bad';
    $('trouble').textContent = 'The server does not answer; what is shown is ' + span(Date.now() - askedAt) + ' old.';
  }
  setTimeout(ask, 2000);
}
const shown = JSON.parse($('first').textContent);
showAll(shown);
setTimeout(ask, 2000);
`;
