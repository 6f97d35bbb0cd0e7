// The live numbers: asks for them every two seconds while the page is seen, and shows them.

const POLL_MS = 2000;
const ANSWER_MS = 8000;
const COLUMNS = 450;
const TOKEN = 'gavel-admin-token';

const state = { steps: [], columns: COLUMNS, started: null, since: 0, data: null, paused: false, heard: null };

// A request to this listener, with the token where one was given.
async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  const signal = AbortSignal.timeout(options.time || ANSWER_MS);
  return fetch(path, { ...options, headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
}

async function sendTrial(partner, client, body) {
  const headers = { 'content-type': 'application/json', 'x-gavel-partner': partner };
  if (client) headers['x-gavel-client'] = client;
  const answer = await ask('/trial', { method: 'POST', headers, body, time: 30000 });
  if (answer.status === 401) login('The token is not the one of this listener any more.');
  const kind = answer.headers.get('content-type') || '';
  if (!kind.startsWith('application/json')) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

function login(why) {
  sessionStorage.removeItem(TOKEN);
  if (why) $('login-why').textContent = why;
  const isNew = $('login').hidden;
  $('login').hidden = false;
  $('main').hidden = true;
  if (isNew) $('token').focus();
}

function notice(text, isBad) {
  $('notice').hidden = !text;
  $('notice').className = isBad ? 'notice bad' : 'notice';
  if ($('notice').textContent !== text) $('notice').textContent = text;
}

async function poll() {
  try {
    const answer = await ask(`/console.json?since=${state.since}`);
    if (answer.status === 401) {
      login(sessionStorage.getItem(TOKEN) ? 'That is not the token of this listener.' : '');
      return;
    }
    if (!answer.ok) throw new Error(`HTTP ${answer.status} ${answer.headers.get('x-gavel-reason') || ''}`);
    take(await answer.json());
    document.body.classList.remove('stale');
  } catch (fault) {
    document.body.classList.add('stale');
    const since = state.heard ? ` since ${clock(state.heard)}` : '';
    notice(`No numbers${since}: ${fault.message}. Trying again.`, true);
  }
}

function take(data) {
  // another process: its steps count from 1 again
  if (state.started !== null && state.started !== data.process.started) {
    [state.steps, state.since, state.started] = [[], 0, data.process.started];
    return;
  }
  [state.started, state.heard, state.data, state.since] = [data.process.started, data.now, data, data.seq];
  state.steps = state.steps.concat(data.steps).slice(-COLUMNS);
  // few steps fill the width; many keep their place
  state.columns = Math.min(COLUMNS, Math.max(60, state.steps.length));
  $('login').hidden = true;
  $('main').hidden = false;
  show();
}

function show() {
  const data = state.data;
  if (!data) return;
  const per = (count) => count / Math.max(data.window_s, 0.1);
  showHead(data);
  showTiles(data, per);
  showCharts(data);
  showPartners(data, per);
  showBidders(data, per);
  showReasons(data, per);
  showMoney(data);
  showMachine(data, per);
  showSources(data);
  showForm(data);
}

function showHead(data) {
  const { process } = data;
  const good = process.is_ready ? 'good' : 'warn';
  $('phase').className = `badge ${good}`;
  $('phase').textContent = process.is_ready ? process.phase : `${process.phase}, not ready`;
  $('about').textContent = `${process.version}, up ${span(data.now - process.started)}, generation ${process.reloads.generation}`;
  $('stamp').textContent = `Last heard ${clock(data.now)}.`;
  $('window').textContent = data.window_s > 0 ? `the last ${span(data.window_s)}` : '';
  const { degraded, waits_for_restart: waits } = process.reloads;
  const broken = Object.entries(process.reloads.sources).filter(([, one]) => one.last.faults.length);
  const missing = process.missing.map(([part, why]) => `${part}: ${why}`);
  const told = [
    missing.length ? `Not ready: ${missing.join('; ')}.` : '',
    degraded ? `Degraded: ${degraded}.` : '',
    broken.length ? `Not taken: ${broken.map(([name, one]) => `${name} (${words(one.last.result)})`).join(', ')}; what was good stays in force.` : '',
    waits.length ? `Waits for a restart: ${waits.join(', ')}.` : '',
  ].filter(Boolean);
  notice(told.join(' '), Boolean(degraded || missing.length));
}

function showTiles(data, per) {
  const ended = sums(data, 'gavel_requests_total', 'result');
  const grew = (...ends) => ends.reduce((all, end) => all + (ended.get(end)?.grew || 0), 0);
  const all = sum(data, 'gavel_requests_total');
  const [answered, noBid, gone, shed] = [grew('answered'), grew('no_bid'), grew('client_gone'), grew('overload', 'partner_qps', 'not_ready')];
  const auctions = series(data, 'gavel_auction_seconds')[0];
  const bounds = data.families.gavel_auction_seconds?.bounds_us || [];
  const time = (q) => (auctions ? span(quantile(auctions.grew.buckets, bounds, q)) : '–');
  const last = state.steps[state.steps.length - 1];
  const cores = last ? last.cpu_seconds / Math.max(last.seconds, 0.1) : null;
  const tiles = [
    ['Requests', num(per(all)), '/s'],
    ['Fill of auctions', percent(answered, answered + noBid), ''],
    ['Wins', num(per(sum(data, 'gavel_wins_total'))), '/s'],
    ['Refused', num(per(all - answered - noBid - gone - shed)), '/s'],
    ['Shed', num(per(shed)), '/s', shed > 0 ? 'bad' : null],
    ['Auction p50', time(0.5), ''],
    ['Auction p99', time(0.99), ''],
    ['In flight', num(sum(data, 'gavel_requests_in_flight', null, 'total')), ''],
    ['CPU', cores === null ? '–' : num(cores), 'cores'],
    ...revenue(data, per),
  ];
  fill($('tiles'), tiles.map(([name, value, unit, how]) => el('div', {}, el('dt', {}, name), el('dd', { class: how || null }, value, ' ', el('small', {}, unit)))));
}

// What auctions were won for, where it is counted: an estimate, for money is counted from events.
function revenue(data, per) {
  const hourly = (name) => num(per(sum(data, name)) * 3600);
  return [['Won, gross', hourly('gavel_won_gross_dollars_total'), '$/h'], ['Won, net', hourly('gavel_won_net_dollars_total'), '$/h']];
}

function showCharts(data) {
  const bounds = data.families.gavel_auction_seconds?.bounds_us;
  drawRate($('rate'), state.steps, state.columns);
  drawHeat($('heat'), state.steps, state.columns, bounds);
  const last = state.steps[state.steps.length - 1];
  if (!last) return;
  $('rate').setAttribute('aria-label', `Requests a second by how they ended; last: ${tellRate(last)}`);
  $('heat').setAttribute('aria-label', `Time of auctions; last: ${tellHeat(last)}`);
}

function tellRate(step) {
  const parts = ENDS.map(([end, name]) => `${num(step[end] / Math.max(step.seconds, 0.1))} ${name}`);
  return `${clock(step.at)}: ${parts.join(', ')} a second`;
}

function tellHeat(step) {
  const bounds = state.data?.families.gavel_auction_seconds?.bounds_us || [];
  const at = (q) => span(quantile(step.auctions, bounds, q));
  const count = step.auctions.reduce((all, [, n]) => all + n, 0);
  return `${clock(step.at)}: ${num(count)} auctions, half within ${at(0.5)}, 99 % within ${at(0.99)}, all within ${at(1)}`;
}

function showPartners(data, per) {
  const net = sums(data, 'gavel_won_net_dollars_total', 'partner');
  const limit = new Map(data.partners.map((one) => [one.name, one.qps]));
  const names = [...new Set([...data.partners.map((one) => one.name), ...sums(data, 'gavel_requests_total', 'partner').keys()])];
  const rows = names.map((name) => {
    const ended = sums(data, 'gavel_requests_total', 'result', (of) => of.partner === name);
    const grew = (end) => ended.get(end)?.grew || 0;
    const all = [...ended.values()].reduce((sum, one) => sum + one.grew, 0);
    const [answered, noBid, gone, shed] = [grew('answered'), grew('no_bid'), grew('client_gone'), grew('overload') + grew('partner_qps') + grew('not_ready')];
    const total = [...ended.values()].reduce((sum, one) => sum + one.total, 0);
    const qps = limit.get(name);
    return [name, num(per(all)), qps ? [`of ${num(qps)}`, bar(per(all) / qps)] : '–', percent(answered, answered + noBid), num(per(all - answered - noBid - gone - shed)), num(per(shed)), num(per(net.get(name)?.grew || 0) * 3600), num(total)];
  });
  table($('partners'), 'Partners', [{ name: 'Partner' }, { name: 'Requests/s' }, { name: 'Agreed/s', far: true }, { name: 'Fill' }, { name: 'Refused/s' }, { name: 'Shed/s' }, { name: 'Net, $/h', far: true, title: 'of won bids, if each is billed once' }, { name: 'Since start', far: true }], rows);
}

const BREAKERS = { closed: ['healthy', 'good'], ramp: ['coming back', 'warn'], open: ['left alone', 'bad'] };

function showBidders(data, per) {
  const bounds = data.families.gavel_bidder_answer_seconds?.bounds_us || [];
  const answers = new Map(series(data, 'gavel_bidder_answer_seconds').map((one) => [one.of.bidder, one.grew]));
  const by = (name) => sums(data, name, 'bidder');
  const gross = by('gavel_won_gross_dollars_total');
  const [bids, wins, rejected] = [by('gavel_bids_received_total'), by('gavel_wins_total'), by('gavel_bids_rejected_total')];
  const rows = data.bidders.map((one) => {
    const ended = sums(data, 'gavel_bidder_calls_total', 'result', (of) => of.bidder === one.name);
    const calls = [...ended.values()].reduce((all, end) => all + end.grew, 0);
    const got = (...ends) => ends.reduce((all, end) => all + (ended.get(end)?.grew || 0), 0);
    const faults = calls - got('bid', 'no_bid', 'late', 'connect_timeout');
    const [skipped] = most(sums(data, 'gavel_bidders_not_called_total', 'reason', (of) => of.bidder === one.name), 1);
    const [health, how] = BREAKERS[one.breaker] || ['not called yet', 'idle'];
    const received = bids.get(one.name)?.grew || 0;
    return [
      el('span', { title: one.at }, one.name),
      el('span', { class: `badge ${how}` }, health),
      num(per(calls)),
      one.qps ? [`of ${num(one.qps)}`, bar(per(calls) / one.qps)] : '–',
      percent(got('bid'), calls),
      percent(wins.get(one.name)?.grew || 0, received),
      num(per(gross.get(one.name)?.grew || 0) * 3600),
      percent(rejected.get(one.name)?.grew || 0, received),
      percent(got('late', 'connect_timeout'), calls),
      percent(faults, calls),
      answers.has(one.name) ? span(quantile(answers.get(one.name).buckets, bounds, 0.95)) : '–',
      `${num(one.open)} / ${num(one.open_max)}`,
      skipped ? `${words(skipped[0])} ${num(per(skipped[1].grew))}/s` : '–',
    ];
  });
  const columns = [
    { name: 'Bidder' }, { name: 'Health', left: true }, { name: 'Calls/s' }, { name: 'Budget/s', far: true },
    { name: 'Bid rate', title: 'calls that gave bids' }, { name: 'Win rate', title: 'of its bids' },
    { name: 'Gross, $/h', far: true, title: 'of won bids, if each is billed once' },
    { name: 'Rejected', far: true, title: 'of its bids' }, { name: 'Time-outs', title: 'of its calls' },
    { name: 'Faults', far: true, title: 'of its calls: refused, broken, wrong status, unreadable' },
    { name: 'p95', title: 'of answers, late ones included' }, { name: 'Open', far: true, title: 'calls, of at most' },
    { name: 'Mostly not called for', far: true },
  ];
  table($('bidder-table'), '', columns, rows);
}

// The largest of a map of sums, by what happened in the last minute.
function most(sums, count) {
  return [...sums].filter(([, one]) => one.grew > 0 || one.total > 0)
    .sort((a, b) => b[1].grew - a[1].grew || b[1].total - a[1].total).slice(0, count);
}

function list(title, rows, none) {
  return el('div', { class: 'card' }, el('h3', {}, title), rows.length ? el('ul', { class: 'rows' }, rows) : el('p', { class: 'quiet' }, none));
}

const line = (name, ...cells) => el('li', {}, el('span', {}, name), cells.map((cell) => el('span', { class: 'num' }, cell)));

function showReasons(data, per) {
  const rows = (name, label, passes) => most(sums(data, name, label, passes), 8)
    .map(([reason, one]) => line(words(reason), `${num(per(one.grew))}/s`, el('span', { class: 'quiet' }, num(one.total))));
  fill($('reason-lists'),
    list('Requests refused', rows('gavel_requests_total', 'result', (of) => !['answered', 'no_bid', 'client_gone'].includes(of.result)), 'none'),
    list('Bidders not called', rows('gavel_bidders_not_called_total', 'reason'), 'none'),
    list('Calls without a bid', rows('gavel_bidder_calls_total', 'result', (of) => of.result !== 'bid'), 'none'),
    list('Bids rejected', rows('gavel_bids_rejected_total', 'reason'), 'none'),
    list('Imps left out', rows('gavel_imps_refused_total', 'reason'), 'none'),
    list('Not a bid request', rows('gavel_http_denied_total', 'reason'), 'none'));
}

// Whatever is counted of events, journal, notices and recordings; nothing where nothing is.
const MONEY = [
  ['Events', /^gavel_(event|token)/], ['Journal', /^gavel_(journal|broker)/], ['Notices', /^gavel_(notice|dead|undelivered)/],
  ['Broker', /^gavel_broker/], ['Money', /^gavel_(rates|floor|ledger)/], ['Recording', /^gavel_capture/],
];

function showMoney(data) {
  const lists = MONEY.map(([title, names]) => {
    const families = Object.keys(data.families).filter((name) => names.test(name));
    const rows = families.flatMap((name) => {
      const { help, labels } = data.families[name];
      const seen = series(data, name).filter((one) => typeof one.total === 'number' && one.total !== 0).slice(0, 24);
      const short = words(name.replace(/^gavel_/, '').replace(/_total$/, ''));
      return seen.map((one) => {
        const of = labels.map((label) => one.of[label]).join(', ');
        return line(el('span', { title: help }, short, of ? [' ', el('b', {}, words(of))] : null), one.grew ? `+${num(one.grew)}` : '', num(one.total));
      });
    });
    return rows.length ? list(title, rows, '') : null;
  }).filter(Boolean);
  $('money').hidden = $('money-link').hidden = !lists.length;
  fill($('money-lists'), lists);
}

function showMachine(data, per) {
  const queue = data.listener;
  if (queue) {
    const lost = queue.overflows === null ? 'the kernel does not say' : `${num(queue.overflows)} overflows, ${num(queue.drops)} drops in this network namespace`;
    const grew = sum(data, 'gavel_listen_overflows_total');
    fill($('queue'),
      el('p', {}, el('b', {}, num(queue.waiting)), ` waiting, ${num(queue.effective)} may `, queue.effective < queue.asked ? el('span', { class: 'quiet' }, `(asked for ${num(queue.asked)}: net.core.somaxconn)`) : null),
      el('div', { class: 'meter', 'aria-hidden': 'true' }, el('i', { width: `${Math.min(100, (100 * queue.waiting) / Math.max(queue.effective, 1))}%` })),
      el('p', { class: grew > 0 ? 'bad' : 'quiet' }, grew > 0 ? `${num(grew)} connections lost in the last minute; ` : null, lost));
  }
  const by = (name, which) => new Map(series(data, name).map((one) => [one.of.worker, one[which]]));
  const [flying, open, lag, shed, cpu] = [by('gavel_requests_in_flight', 'total'), by('gavel_connections_open', 'total'), by('gavel_worker_lag_seconds', 'total'), by('gavel_shed_ratio', 'total'), by('gavel_worker_cpu_seconds_total', 'grew')];
  const rows = [...flying.keys()].map((worker) => [worker, num(flying.get(worker)), num(open.get(worker)), percent(per(cpu.get(worker) || 0), 1), span(lag.get(worker)), percent(shed.get(worker), 1)]);
  table($('workers'), 'Workers', [{ name: 'Worker' }, { name: 'In flight' }, { name: 'Connections' }, { name: 'CPU' }, { name: 'Lag' }, { name: 'Sheds' }], rows);
}

function showSources(data) {
  const infos = new Map((data.databases || []).map((one) => [one.role, one]));
  const sources = data.process.reloads.sources;
  const names = [...new Set(['rules', ...Object.keys(sources), ...infos.keys()])].filter((name) => sources[name] || infos.has(name));
  const rows = names.map((name) => {
    const [source, info] = [sources[name], infos.get(name)];
    const built = info?.build_epoch ?? source?.built;
    const result = source?.last.result || 'ok';
    const good = result === 'ok' || result === 'unchanged';
    return [
      name, info ? info.kind : '–', built ? `${span(data.now - built)} old` : '–', source && source.generation ? String(source.generation) : '–',
      source && source.taken ? `${span(source.age_seconds)} ago` : '–',
      el('span', { class: good ? 'good' : 'bad' }, words(result), source && source.last.at ? el('span', { class: 'quiet' }, ` ${span(data.now - source.last.at)} ago`) : null),
      info ? num(info.entries) : '–', el('code', {}, ((info && info.sha256) || (source && source.checksum) || '').slice(0, 12)),
    ];
  });
  table($('source-table'), '', [{ name: 'Source' }, { name: 'Kind', left: true, far: true }, { name: 'Built' }, { name: 'Generation', far: true }, { name: 'Taken' }, { name: 'Last reload', left: true }, { name: 'Entries', far: true }, { name: 'Checksum', left: true, far: true }], rows);
  const faults = Object.entries(sources).flatMap(([name, one]) => one.last.faults.map((fault) => el('p', {}, el('b', {}, `${name}: `), fault)));
  fill($('reloads'), faults.length ? el('div', { class: 'notice bad' }, faults) : []);
}

function showForm(data) {
  const select = $('trial-partner');
  const names = data.partners.map((one) => one.name);
  const have = [...select.options].map((option) => option.value);
  if (names.join('\n') === have.join('\n')) return;
  const chosen = select.value;
  fill(select, names.map((name) => el('option', { value: name }, name)));
  if (names.includes(chosen)) select.value = chosen;
}

// === start ===

$('pause').addEventListener('click', () => {
  state.paused = !state.paused;
  $('pause').setAttribute('aria-pressed', String(state.paused));
  $('pause').textContent = state.paused ? 'Go on' : 'Pause';
});
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $('token').value);
  $('token').value = '';
  poll();
});
fill($('rate-legend'), ENDS.map(([end, name]) => { const key = el('span', {}, el('b', {}, name)); key.style.setProperty('color', `var(${ENDS.find(([one]) => one === end)[2]})`); return key; }));
readout($('rate'), $('rate-read'), state, tellRate);
readout($('heat'), $('heat-read'), state, tellHeat);
window.addEventListener('resize', () => { if (state.data) showCharts(state.data); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (state.data) showCharts(state.data); });
startTrial(sendTrial);
(async () => {
  for (;;) {
    const idle = state.paused || document.hidden || !$('login').hidden;
    if (!idle) await poll();
    await new Promise((done) => { setTimeout(done, POLL_MS); });
  }
})();
