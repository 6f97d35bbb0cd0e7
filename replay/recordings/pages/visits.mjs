// Who comes to which page, with what device and what consent: all of it drawn from a seed, nobody's
// data. Sites, publishers, people and ids are invented; addresses are of 198.18.0.0/15, which is
// kept for tests. What a request looks like is Prebid.js's own doing.

/** Numbers from a seed (mulberry32). */
export class Chance {
  constructor(seed) { this.state = seed >>> 0; }
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let word = this.state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 4294967296;
  }
  below(count) { return Math.floor(this.next() * count); }
  between(least, most) { return least + this.below(most - least + 1); }
  is(share) { return this.next() < share; }
  of(list) { return list[this.below(list.length)]; }
  some(list, count) {
    const left = [...list];
    return Array.from({ length: Math.min(count, left.length) },
      () => left.splice(this.below(left.length), 1)[0]);
  }
  hex(digits) {
    return Array.from({ length: digits }, () => this.below(16).toString(16)).join('');
  }
  uuid() {
    return [8, 4, 4, 4, 12].map((digits) => this.hex(digits)).join('-');
  }
}

export const SITES = [
  ['morning-herald', 'en', ['379', 'IAB12'], ['politics', 'world', 'business']],
  ['evening-gazette', 'en', ['379', 'IAB12'], ['local', 'crime', 'opinion']],
  ['tagesblatt', 'de', ['379', 'IAB12'], ['politik', 'wirtschaft', 'kultur']],
  ['le-courrier', 'fr', ['379', 'IAB12'], ['monde', 'economie', 'sport']],
  ['el-mirador', 'es', ['379', 'IAB12'], ['mundo', 'deportes']],
  ['il-corriere-nuovo', 'it', ['379', 'IAB12'], ['cronaca', 'esteri']],
  ['nieuwsblad', 'nl', ['379', 'IAB12'], ['binnenland', 'sport']],
  ['diario-novo', 'pt', ['379', 'IAB12'], ['brasil', 'futebol']],
  ['kazaguruma', 'ja', ['379', 'IAB12'], ['keizai', 'shakai']],
  ['goal-corner', 'en', ['483', 'IAB17'], ['fixtures', 'transfers']],
  ['ballsport', 'de', ['483', 'IAB17'], ['bundesliga', 'tennis']],
  ['slow-kitchen', 'en', ['210', 'IAB8'], ['recipes', 'baking', 'wine']],
  ['petits-plats', 'fr', ['210', 'IAB8'], ['recettes', 'desserts']],
  ['bolt-and-gear', 'en', ['1', 'IAB2'], ['reviews', 'electric']],
  ['fahrwerk', 'de', ['1', 'IAB2'], ['tests', 'gebraucht']],
  ['far-shores', 'en', ['653', 'IAB20'], ['islands', 'cities', 'hiking']],
  ['pixel-arcade', 'en', ['680', 'IAB9'], ['previews', 'guides', 'esports']],
  ['ledger-and-coin', 'en', ['391', 'IAB13'], ['markets', 'pensions']],
  ['sky-today', 'en', ['390', 'IAB15'], ['forecast', 'radar']],
  ['garden-almanac', 'en', ['274', 'IAB10'], ['roses', 'vegetables']],
  ['clip-house', 'en', ['324', 'IAB1'], ['trailers', 'series']],
  ['small-ads', 'en', ['473', 'IAB22'], ['bikes', 'furniture', 'phones']],
  ['ask-a-neighbour', 'en', ['680', 'IAB19'], ['threads', 'questions']],
  ['school-times', 'en', ['132', 'IAB5'], ['exams', 'stories']],
].map(([name, language, [cattax, cat], sections], index) => ({
  host: `${name}.example`, publisher: `pub-${4100 + index * 17}`, name, language, cattax, cat,
  sections, isForChildren: name === 'school-times', hasVideo: name === 'clip-house' || index % 5 === 0,
}));

const chromeData = (platform, platformVersion, model, mobile, version, architecture) => ({
  brands: [{ brand: 'Chromium', version }, { brand: 'Google Chrome', version },
    { brand: 'Not_A Brand', version: '99' }],
  fullVersion: `${version}.0.0.0`, platform, platformVersion, model, mobile, architecture,
  bitness: '64', wow64: false,
});
const desktop = (name, system, platform, width, height, scale = 1, data = undefined) => ({
  name, userAgent: system, platform, width, height, scale, isMobile: false, data,
});
const mobile = (name, userAgent, platform, width, height, scale, data = undefined) => ({
  name, userAgent, platform, width, height, scale, isMobile: true, data,
});
const chrome = (system, version, tail = '') =>
  `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 ${tail}Safari/537.36`;
const android = (release, model, version) => chrome(`Linux; Android ${release}; ${model}`, version, 'Mobile ');
const iphone = (release, version) =>
  `Mozilla/5.0 (iPhone; CPU iPhone OS ${release.replace('.', '_')} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${version} Mobile/15E148 Safari/604.1`;

const VERSIONS = ['128', '131', '134', '138', '141', '143'];
const WINDOWS = 'Windows NT 10.0; Win64; x64';
const MAC = 'Macintosh; Intel Mac OS X 10_15_7';

/** Devices; those of Chrome say their client hints. */
export function device(chance) {
  const version = chance.of(VERSIONS);
  const win = (width, height, scale = 1) => desktop('Windows, Chrome', chrome(WINDOWS, version), 'Win32',
    width, height, scale, chromeData('Windows', chance.of(['10.0.0', '15.0.0', '19.0.0']), '', false, version, 'x86'));
  const droid = (release, model, width, height, scale) =>
    mobile(model, android('10', 'K', version), 'Linux armv8l', width, height, scale,
      chromeData('Android', release, model, true, version, ''));
  return chance.of([
    () => win(1920, 1080), () => win(1366, 768), () => win(1536, 864, 1.25), () => win(2560, 1440),
    () => desktop('Windows, Edge', `${chrome(WINDOWS, version)} Edg/${version}.0.0.0`, 'Win32', 1920, 1080, 1,
      chromeData('Windows', '15.0.0', '', false, version, 'x86')),
    () => desktop('Windows, Firefox', `Mozilla/5.0 (${WINDOWS}; rv:${version}.0) Gecko/20100101 Firefox/${version}.0`, 'Win32', 1680, 1050),
    () => desktop('Mac, Safari', `Mozilla/5.0 (${MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${chance.of(['17.6', '18.3', '26.0'])} Safari/605.1.15`, 'MacIntel', 1440, 900, 2),
    () => desktop('Mac, Chrome', chrome(MAC, version), 'MacIntel', 1728, 1117, 2,
      chromeData('macOS', chance.of(['14.7.0', '15.5.0']), '', false, version, 'arm')),
    () => desktop('Linux, Firefox', `Mozilla/5.0 (X11; Linux x86_64; rv:${version}.0) Gecko/20100101 Firefox/${version}.0`, 'Linux x86_64', 1920, 1200),
    () => desktop('ChromeOS', chrome('X11; CrOS x86_64 14541.0.0', version), 'Linux x86_64', 1366, 768, 1,
      chromeData('Chrome OS', '16093.0.0', '', false, version, 'x86')),
    () => mobile('iPhone', iphone(chance.of(['16.7', '17.6', '18.5']), chance.of(['16.6', '17.6', '18.5'])), 'iPhone', 390, 844, 3),
    () => mobile('iPhone, small', iphone('17.5', '17.5'), 'iPhone', 375, 667, 2),
    () => mobile('iPhone, large', iphone('18.6', '18.6'), 'iPhone', 430, 932, 3),
    () => droid('14.0.0', chance.of(['SM-S921B', 'SM-A546B', 'SM-A155F']), 360, 780, 3),
    () => droid('15.0.0', chance.of(['Pixel 8', 'Pixel 9']), 412, 915, 2.625),
    () => droid('13.0.0', chance.of(['Redmi Note 12', 'moto g54', 'CPH2481']), 393, 873, 2.75),
    () => mobile('Android, Firefox', `Mozilla/5.0 (Android 14; Mobile; rv:${version}.0) Gecko/${version}.0 Firefox/${version}.0`, 'Linux armv8l', 412, 869, 2.6),
    () => mobile('Samsung Internet', `Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36`, 'Linux armv8l', 360, 780, 3),
    () => mobile('iPad', `Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1`, 'iPad', 820, 1180, 2),
    () => mobile('Galaxy Tab', chrome('Linux; Android 13; SM-X700', version), 'Linux armv8l', 800, 1280, 2,
      chromeData('Android', '13.0.0', 'SM-X700', false, version, '')),
  ])();
}

/** A core segment of TCF 2 in base64url; see the same in replay/src/generate/consent.rs. */
function tcString(chance, isGiven, language) {
  const bits = [];
  const put = (number, count) => {
    for (const bit of BigInt(number).toString(2).padStart(count, '0')) bits.push(bit === '1');
  };
  const draw = (count, share) => {
    const drawn = Array.from({ length: count }, () => chance.is(share));
    bits.push(...drawn);
    return drawn;
  };
  const letters = (text) => [...text].forEach((letter) => put(letter.charCodeAt(0) - 65, 6));
  const created = 17_355_000_000 + chance.below(300) * 864_000;
  put(2, 6); put(created, 36); put(created, 36);
  put(chance.between(2, 400), 12); put(chance.between(1, 30), 12); put(1, 6);
  letters(language.toUpperCase()); put(chance.between(250, 350), 12); put(4, 6); put(0, 2);
  draw(12, 0);
  const purposes = isGiven ? draw(11, 0.95) : draw(11, 0);
  put(0, 13); draw(11, isGiven ? 0.6 : 0); put(0, 13);
  put(0, 1); letters('DE');
  for (const share of isGiven ? [0.8, 0.3] : [0, 0]) {
    const vendors = chance.between(20, 180);
    put(vendors, 16); put(0, 1); draw(vendors, share);
  }
  put(0, 12);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  let text = '';
  for (let at = 0; at < bits.length; at += 6) {
    text += alphabet[[0, 1, 2, 3, 4, 5].reduce((sum, bit) => sum * 2 + Number(bits[at + bit] ?? 0), 0)];
  }
  return { text, purposes: Object.fromEntries(purposes.map((given, index) => [index + 1, given])) };
}

/** Examples of the standard: TCF in GPP, the US national section with and without opt-outs. */
const GPP = [
  { text: 'DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA', sections: [2] },
  { text: 'DBABLA~BVQqAAAAAgA.QA', sections: [7] },
  { text: 'DBABLA~BVVqAAAAAgA.YA', sections: [7] },
];

function consent(chance, site) {
  const isEuropean = ['de', 'fr', 'es', 'it', 'nl'].includes(site.language) || chance.is(0.25);
  if (isEuropean) {
    const isGiven = chance.is(0.75);
    const { text, purposes } = tcString(chance, isGiven, site.language);
    return { tcf: { text, purposes, applies: chance.is(0.93) } };
  }
  if (chance.is(0.5)) {
    return { usp: chance.of(['1---', '1YNN', '1YNY', '1YYN', '1NNN']), gpp: chance.is(0.4) ? chance.of(GPP) : undefined };
  }
  return chance.is(0.3) ? { gpp: chance.of(GPP) } : {};
}

const NATIVE = {
  ver: '1.2', context: 1, plcmttype: 1, eventtrackers: [{ event: 1, methods: [1, 2] }],
  assets: [
    { id: 1, required: 1, title: { len: 90 } },
    { id: 2, required: 1, img: { type: 3, wmin: 300, hmin: 157 } },
    { id: 3, required: 0, data: { type: 1, len: 25 } },
    { id: 4, required: 0, data: { type: 2, len: 140 } },
  ],
};
const video = (width, height, more) => ({
  playerSize: [[width, height]], mimes: ['video/mp4', 'video/webm'], protocols: [2, 3, 5, 6, 7, 8],
  api: [1, 2], linearity: 1, ...more,
});
const SLOTS = {
  wide: [
    ['top', { banner: { sizes: [[970, 250], [970, 90], [728, 90]] } }, 1],
    ['side-1', { banner: { sizes: [[300, 250], [300, 600]] } }, 3],
    ['side-2', { banner: { sizes: [[160, 600], [120, 600]] } }, 3],
    ['side-3', { banner: { sizes: [[300, 600]] } }, 3],
    ['inline-1', { banner: { sizes: [[336, 280], [300, 250]] }, video: video(640, 360, { context: 'outstream', plcmt: 4, minduration: 5, maxduration: 30 }) }, 0],
    ['inline-2', { banner: { sizes: [[468, 60], [728, 90]] } }, 0],
    ['foot', { banner: { sizes: [[728, 90]] } }, 4],
    ['read-next', { native: { ortb: NATIVE } }, 0],
    ['read-next-2', { native: { ortb: NATIVE }, banner: { sizes: [[300, 250]] } }, 0],
  ],
  narrow: [
    ['top', { banner: { sizes: [[320, 100], [320, 50]] } }, 1],
    ['inline-1', { banner: { sizes: [[300, 250], [336, 280]] } }, 0],
    ['inline-2', { banner: { sizes: [[300, 250], [320, 480]] } }, 0],
    ['inline-3', { banner: { sizes: [[250, 250], [200, 200], [300, 250]] } }, 0],
    ['sticky', { banner: { sizes: [[320, 50], [300, 50]] } }, 5],
    ['read-next', { native: { ortb: NATIVE } }, 0],
    ['video', { video: video(320, 180, { context: 'outstream', plcmt: 4, minduration: 5, maxduration: 15 }) }, 0],
  ],
};
const PLAYER = (chance) => ['player', {
  video: video(chance.of([640, 854, 1280]), chance.of([360, 480, 720]), {
    context: 'instream', plcmt: chance.of([1, 2]), minduration: 5, maxduration: chance.of([15, 30, 60]),
    startdelay: chance.of([0, 0, -1]), playbackmethod: [chance.of([1, 2, 3])], skip: chance.below(2),
  }),
}, 7];
const BIDDERS = ['amber', 'birch', 'cedar', 'dune', 'ember'];

function unit(chance, site, page, [name, mediaTypes, pos], isWide) {
  const code = `${page.section}-${name}`;
  const ortb2Imp = {
    ext: { gpid: `/6355/${site.name}/${page.section}/${name}`, data: { pbadslot: `/${site.name}/${code}` } },
  };
  if (mediaTypes.banner && pos) ortb2Imp.banner = { pos };
  if (chance.is(0.08)) {
    ortb2Imp.pmp = { private_auction: 0, deals: chance.some([1, 2, 3, 4, 5], chance.between(1, 2))
      .map((number) => ({ id: `deal-${site.name}-${number}`, bidfloor: chance.between(1, 40) / 10, bidfloorcur: 'USD', at: chance.between(1, 3) })) };
  }
  if (chance.is(0.1)) ortb2Imp.instl = name === 'inline-2' && !isWide ? 1 : 0;
  const bids = chance.some(BIDDERS, chance.between(1, 4)).map((bidder) => ({
    bidder, params: { placement: `${site.publisher}-${name}`, zone: chance.between(1, 60) },
  }));
  return { code, mediaTypes: structuredClone(mediaTypes), ortb2Imp, bids };
}

function auctions(chance, site, page, isWide) {
  const slots = chance.some(isWide ? SLOTS.wide : SLOTS.narrow, chance.between(1, isWide ? 7 : 5));
  if (site.hasVideo && chance.is(0.6)) slots.unshift(PLAYER(chance));
  const units = slots.map((slot) => unit(chance, site, page, slot, isWide));
  const first = units.slice(0, Math.max(1, Math.ceil(units.length * 0.6)));
  const late = units.slice(first.length);
  const all = [first];
  if (late.length > 0) all.push(late);
  if (chance.is(0.35)) all.push(chance.some(units, chance.between(1, 2)));
  return all;
}

function eids(chance) {
  const sources = ['id-one.example', 'publisher-login.example', 'cohorts.example'];
  return chance.some(sources, chance.between(1, 2)).map((source) => ({
    source, uids: [{ id: chance.uuid(), atype: chance.between(1, 3), ext: { stype: 'ppuid' } }],
  }));
}

function firstParty(chance, site, page) {
  const site2 = {
    name: site.name.replaceAll('-', ' '), domain: site.host, cattax: 6, cat: [site.cattax],
    sectioncat: [site.cattax], pagecat: [site.cattax],
    keywords: chance.some(['breaking', 'analysis', 'video', 'longread', 'gallery', page.section], 2).join(','),
    publisher: { id: site.publisher, name: site.name, domain: site.host },
    content: {
      id: `${page.section}-${page.number}`, title: page.title, language: site.language,
      url: page.url, livestream: 0, len: chance.between(60, 900),
      data: [{ name: 'topics.example', ext: { segtax: 7 }, segment: [{ id: String(chance.between(1, 698)) }] }],
    },
    ext: { data: { pageType: chance.of(['article', 'front', 'gallery']), paywall: chance.is(0.2) } },
  };
  const ortb2 = { site: site2, cur: chance.of([undefined, ['USD'], ['EUR', 'USD'], ['GBP', 'USD']]) };
  if (chance.is(0.4)) ortb2.user = { data: [{ name: 'segments.example', ext: { segtax: 4 },
    segment: chance.some(['3', '27', '113', '243', '410', '687'], 3).map((id) => ({ id })) }] };
  if (chance.is(0.25)) ortb2.bcat = chance.some(['IAB7-39', 'IAB8-18', 'IAB9-9', 'IAB14-1', 'IAB23', 'IAB25', 'IAB26'], 4);
  if (chance.is(0.25)) ortb2.badv = chance.some(['casino.example', 'rival-news.example', 'loans.example', 'vapes.example'], 2);
  if (chance.is(0.7)) ortb2.device = { ip: page.address };
  return ortb2;
}

function config(chance, site, page, said, endpoint) {
  const timeout = chance.of([900, 1200, 1500, 2000]);
  const headers = chance.is(0.12);
  const all = {
    bidderTimeout: timeout, coppa: site.isForChildren, deviceAccess: true,
    ortb2: firstParty(chance, site, page),
    s2sConfig: [{
      accountId: site.publisher, enabled: true, bidders: BIDDERS, allowUnknownBidderCodes: true,
      timeout: chance.of([500, 700, 900]), endpoint: headers ? endpoint.bare : endpoint.keyed,
      endpointCompression: chance.is(0.3),
      customHeaders: headers ? { 'x-gavel-key': endpoint.key } : {},
    }],
    userSync: { syncEnabled: false, auctionDelay: 50, userIds: [] },
    // no request of its own: the rates are here
    currency: { adServerCurrency: 'USD', rates: { USD: { USD: 1, EUR: 0.92, GBP: 0.79 } } },
    consentManagement: {},
  };
  if (said.tcf) all.consentManagement.gdpr = { cmpApi: 'iab', timeout: 2000, defaultGdprScope: true };
  if (said.usp) all.consentManagement.usp = { cmpApi: 'iab', timeout: 500 };
  if (said.gpp) all.consentManagement.gpp = { cmpApi: 'iab', timeout: 500 };
  if (chance.is(0.7)) all.userSync.userIds.push({ name: 'sharedId', storage: { type: 'cookie', name: '_sharedID', expires: 28 } });
  if (chance.is(0.35)) all.userSync.userIds.push({ name: 'pubProvidedId', params: { eids: eids(chance) } });
  if (chance.is(0.6)) {
    all.floors = { data: { currency: 'USD', schema: { delimiter: '|', fields: ['mediaType', 'size'] }, values: {
      'banner|300x250': chance.between(5, 90) / 100, 'banner|*': chance.between(2, 60) / 100,
      'video|*': chance.between(100, 500) / 100, '*|*': 0.05 } } };
  }
  if (chance.is(0.5)) {
    const nodes = [{ asi: 'network.example', sid: site.publisher, hp: 1 }];
    if (chance.is(0.4)) nodes.unshift({ asi: 'publisher-group.example', sid: `g-${chance.between(10, 99)}`, hp: 1 });
    all.schain = { validation: 'relaxed', config: { ver: '1.0', complete: chance.below(2), nodes } };
  }
  return all;
}

/** The visits of one recording. `endpoint`: where Prebid.js is pointed at. */
export function* visits(seed, count, endpoint) {
  for (let number = 0; number < count; number += 1) {
    const chance = new Chance(seed * 1_000_003 + number);
    const site = chance.of(SITES);
    const shown = device(chance);
    const section = chance.of(site.sections);
    const page = { section, number: chance.between(1000, 9999) };
    page.path = `/${section}/${page.number}-${chance.some(['the', 'long', 'way', 'home', 'again', 'under', 'water'], 3).join('-')}.html`;
    page.url = `http://${site.host}${page.path}`;
    page.title = `${section} ${page.number}`;
    page.address = `198.${chance.between(18, 19)}.${chance.below(256)}.${chance.between(1, 254)}`;
    const said = consent(chance, site);
    const rounds = auctions(chance, site, page, shown.width >= 800);
    yield {
      number, host: site.host, url: page.url, language: site.language,
      device: shown, referrer: chance.is(0.5) ? `http://${chance.of(['search.example', 'social.example', site.host])}/` : undefined,
      forPage: { consent: said, config: config(chance, site, page, said, endpoint), auctions: rounds,
        pauses: rounds.map(() => chance.between(0, 60)) },
    };
  }
}
