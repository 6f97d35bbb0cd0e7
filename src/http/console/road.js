// The test request: the form, and the picture of the road that its answer walked.

const EXAMPLES = {
  'Banner on a site': {
    id: 'console-1', tmax: 400, at: 1, cur: ['USD'],
    imp: [{ id: '1', bidfloor: 0.1, banner: { w: 300, h: 250, format: [{ w: 300, h: 250 }] }, secure: 1 }],
    site: { id: 'site-1', domain: 'example.com', page: 'http://example.com/news', publisher: { id: 'pub-1' } },
    device: { ip: '198.18.0.1', ua: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36' },
  },
  'Video in an app': {
    id: 'console-2', tmax: 400, at: 2, cur: ['USD'],
    imp: [{ id: '1', bidfloor: 1.5, video: { mimes: ['video/mp4'], w: 640, h: 360, minduration: 5, maxduration: 30, protocols: [2, 3, 5, 6] }, secure: 1 }],
    app: { id: 'app-1', bundle: 'com.example.app', publisher: { id: 'pub-1' } },
    device: { ip: '198.18.0.1', ua: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148' },
  },
  'Two imps, a private deal, consent refused': {
    id: 'console-3', tmax: 400, cur: ['USD'],
    imp: [
      { id: '1', banner: { w: 728, h: 90 } },
      { id: '2', bidfloor: 2, banner: { w: 300, h: 600 }, pmp: { private_auction: 1, deals: [{ id: 'deal-1', bidfloor: 3 }] } },
    ],
    site: { domain: 'example.com' },
    device: { ip: '198.18.0.1', ua: 'Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0' },
    regs: { gdpr: 1 }, user: { consent: '' },
  },
  'Broken: an imp without media': { id: 'console-4', imp: [{ id: '1' }], site: { domain: 'example.com' } },
};

const chip = (name, value, kind) => el('span', { class: kind ? `chip ${kind}` : 'chip' }, name, value === undefined ? null : [' ', el('b', {}, value)]);

const price = (value, currency) => (value === undefined ? null : `${value} ${currency || ''}`.trim());

// One stop of the road: how it went there, its name, a word behind it, and what is to be seen.
const stop = (how, name, behind, ...inside) => el('li', { class: how }, el('h3', {}, name, el('span', { class: 'quiet' }, behind)), inside);

// The whole picture, of what /trial said.
function road(told) {
  const answer = told.answer || {};
  const seen = (answer.ext && answer.ext.gavel) || null;
  const stops = [arrived(told)];
  if (!seen) {
    const why = told.reason ? words(told.reason) : 'no explanation came';
    stops.push(stop('stop', 'Read and checked', 'turned away', el('p', { class: 'chips' }, chip('reason', why, 'bad'))));
    ['Looked up', 'Bidders', 'Auction'].forEach((name) => stops.push(stop('skipped', name, 'not reached')));
  } else {
    const refused = (seen.imps_refused || []).map((imp) => chip(`imp at ${imp.position} left out`, words(imp.reason), 'warn'));
    stops.push(stop('done', 'Read and checked', refused.length ? 'valid in parts' : 'valid', el('p', { class: 'chips' }, refused)));
    stops.push(...walked(seen));
  }
  stops.push(answered(told, answer));
  return el('div', {},
    el('ol', { class: 'road', 'aria-label': 'The road of the request' }, stops),
    el('details', {}, el('summary', {}, 'The answer as JSON'), el('pre', { tabindex: '0' }, JSON.stringify(told.answer, null, 2))));
}

function arrived(told) {
  return stop('done', 'Taken by a worker', `number ${told.worker}, rules of generation ${told.generation}`);
}

function walked(seen) {
  const facts = Object.entries(seen.facts || {}).map(([name, value]) => chip(words(name), String(value)));
  const known = stop('done', 'Looked up', facts.length ? '' : 'nothing is known of the device or its address', el('p', { class: 'chips' }, facts));
  if (seen.rule) {
    known.className = 'stop';
    known.append(el('p', { class: 'chips' }, chip('stopped by a rule', words(seen.rule), 'bad')));
    return [known, stop('skipped', 'Bidders', 'none was asked'), stop('skipped', 'Auction', 'not held')];
  }
  const bidders = seen.bidders || [];
  const called = bidders.filter((bidder) => bidder.called).length;
  const lanes = bidders.map((bidder) => lane(bidder, seen.tmax_ms));
  const asked = stop(called ? 'done' : 'none', 'Bidders', `${called} of ${bidders.length} asked, ${seen.tmax_ms} ms to answer`, el('ul', { class: 'lanes' }, lanes));
  return [known, asked, auction(seen, bidders)];
}

// A bidder: its name, its time as a part of what it had, and its bids with their ends.
function lane(bidder, tmax) {
  if (!bidder.called) {
    return el('li', { class: 'lane off' }, el('b', {}, bidder.name),
      el('div', { class: 'track' }, el('span', {}, 'not called')),
      el('p', { class: 'chips' }, chip(words(bidder.reason), undefined, 'warn')));
  }
  const bids = bidder.bids || [];
  const how = bidder.reason ? (bidder.reason === 'no_bid' ? 'idle' : 'bad') : 'good';
  const status = bidder.status ? `, HTTP ${bidder.status}` : '';
  const part = Math.min(100, (100 * bidder.ms) / Math.max(tmax, 1));
  const ends = bidder.reason
    ? el('p', { class: 'chips' }, chip(words(bidder.reason), bidder.nbr === undefined ? undefined : `nbr ${bidder.nbr}`, how))
    : el('ul', { class: 'bids' }, bids.map(bid));
  return el('li', { class: 'lane' }, el('b', {}, bidder.name),
    el('div', { class: `track ${how}` }, el('i', { width: `${part}%` }), el('span', {}, `${num(bidder.ms)} ms${status}`)),
    ends);
}

function bid(one) {
  const how = { won: 'good', lost: 'idle', rejected: 'bad' }[one.result] || 'warn';
  const end = one.result === 'won' ? `won, pays ${price(one.clearing, one.clearing_cur)}` : one.result === 'lost' ? words(one.reason) : `${one.result}: ${words(one.reason)}`;
  return el('li', { class: one.result === 'won' ? 'won' : null },
    el('span', {}, price(one.price, one.cur)),
    el('span', { class: `chip ${how}` }, end),
    el('span', { class: 'quiet' }, [`imp ${one.impid}`, one.seat && `seat ${one.seat}`, one.dealid && `deal ${one.dealid}`, one.media].filter(Boolean).join(', ')));
}

function auction(seen, bidders) {
  const bids = bidders.flatMap((bidder) => (bidder.bids || []).map((one) => ({ ...one, bidder: bidder.name })));
  const won = bids.filter((one) => one.result === 'won');
  const kind = { 1: 'first price', 2: 'second price', 3: 'fixed price' }[seen.at] || `type ${seen.at}`;
  const ends = won.map((one) => chip(`imp ${one.impid} to ${one.bidder} at`, price(one.clearing, one.clearing_cur), 'good'));
  const told = bids.length ? `${kind}, ${bids.length} bid${bids.length === 1 ? '' : 's'}` : 'no bid came';
  return stop(won.length ? 'done' : 'none', 'Auction', told, el('p', { class: 'chips' }, ends.length ? ends : chip('nobody won', undefined, 'warn')));
}

function answered(told, answer) {
  const bids = (answer.seatbid || []).flatMap((seat) => (seat.bid || []).map((one) => ({ ...one, seat: seat.seat })));
  const shown = bids.map((one) => chip(`imp ${one.impid}, seat ${one.seat || '–'}`, price(one.price, answer.cur), 'good'));
  if (answer.nbr !== undefined) shown.push(chip('nbr', answer.nbr, 'warn'));
  if (told.reason) shown.push(chip('x-gavel-reason', told.reason, 'warn'));
  const how = bids.length ? 'done' : told.status >= 400 ? 'stop' : 'none';
  return stop(how, 'Answer', `HTTP ${told.status} after ${num(told.took_ms)} ms`, el('p', { class: 'chips' }, shown));
}

function startTrial(send) {
  const [form, body, example, state] = [$('trial-form'), $('trial-body'), $('trial-example'), $('trial-state')];
  const show = () => { body.value = JSON.stringify(EXAMPLES[example.value], null, 2); };
  fill(example, Object.keys(EXAMPLES).map((name) => el('option', { value: name }, name)));
  example.addEventListener('change', show);
  show();
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    $('trial-send').disabled = true;
    state.textContent = 'on its way';
    try {
      const told = await send($('trial-partner').value, $('trial-client').value.trim(), body.value);
      state.textContent = told.fault ? '' : `held in ${num(told.took_ms)} ms`;
      fill($('road'), told.fault ? el('p', { class: 'notice bad', role: 'alert' }, told.fault) : road(told));
      if (!told.fault) $('road').focus({ preventScroll: true });
    } catch (fault) {
      state.textContent = '';
      fill($('road'), el('p', { class: 'notice bad', role: 'alert' }, `not sent: ${fault.message}`));
    } finally {
      $('trial-send').disabled = false;
    }
  });
}
