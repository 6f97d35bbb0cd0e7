// Starts the exchange with recording on and its bidders on loopback, has a browser visit the pages,
// and ends all of it. Called by ../record; nothing here leaves this machine.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { SITES, visits } from './visits.mjs';

const [programs, demo, scripts, out, count, seed, chromium] = process.argv.slice(2);
/** Pages that are open at once, and how long one may take. */
const AT_ONCE = 4;
const VISIT_MS = 30_000;
const EXCHANGE = 'http://exchange.example';
/** Of configs/demo/partners.toml. */
const KEY = 'demo-key';
const KEY_HASH = 'blake3:84d53ce2f18ae4856edfe631810f984b8c78bf3c0e136bac89e45642c5c85b37';

const folder = mkdtempSync(join(tmpdir(), 'gavel-recording-'));
const children = [];

/** A program, and the first line of its output for which `find` gives something. */
function start(program, args, find) {
  const child = spawn(join(programs, program), args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  return new Promise((found, failed) => {
    child.on('exit', (code) => failed(new Error(`${program} ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const it = find(line);
      if (it !== undefined) found(it);
    });
  });
}

async function end(child, signal) {
  if (child.exitCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  await ended;
}

/** The bidders; answers their addresses. */
async function bidders() {
  const text = readFileSync(join(demo, 'stub.toml'), 'utf8').replace(/^port = .*$/gm, 'port = 0');
  const spec = join(folder, 'stub.toml');
  writeFileSync(spec, text);
  const addresses = [];
  return start('gavel-replay', ['stub', '--spec', spec], (line) => {
    const [, name, url] = line.match(/^(\w+) (http:\S+)$/) ?? [];
    if (name) addresses.push([name, url]);
    return line.startsWith('end with') ? addresses : undefined;
  });
}

/** The exchange, recording all; answers its address. */
async function exchange(addresses) {
  const captures = join(folder, 'captures');
  mkdirSync(captures);
  let rules = readFileSync(join(demo, 'bidders.toml'), 'utf8');
  for (const [name, url] of addresses) {
    rules = rules.replace(new RegExp(`(name = "${name}"\\nurl = )".*"`), `$1"${url}"`);
  }
  const rates = readFileSync(join(demo, 'partners.toml'), 'utf8').replace(/^[^]*?(?=\[rates\])/, '');
  // the key of the pseudonyms is thrown away with the folder
  const settings = `
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[runtime]
workers = 1
# a browser on the same machine makes the exchange lag, which is no reason to shed here
[admission]
lag_target = "100ms"
burst_time = "1h"
burst_lag = "1h"
[databases]
city = "${demo}/geo/demo-city.mmdb"
isp = "${demo}/geo/demo-isp.mmdb"
connection_type = "${demo}/geo/demo-connection-type.mmdb"
anonymous = "${demo}/geo/demo-anonymous-ip.mmdb"
device_regexes = "${demo}/device/regexes.yaml"
device_models = "${demo}/device/models.toml"
[capture]
enabled = true
directory = "${captures}"
key = "${randomBytes(24).toString('hex')}"
sample_ppm = 1000000
bidders = "bodies"
[[partners]]
name = "pages"
keys = ["${KEY_HASH}"]
origins = ["*"]
no_bid = "reason"
currency = "USD"
${rates}
${rules}`;
  const config = join(folder, 'gavel.toml');
  writeFileSync(config, settings);
  const address = await start('gavel', ['serve', '--config', config, '--operations', '127.0.0.1:0', '--exit-on-fault'], (line) => {
    const said = JSON.parse(line);
    if (said.level === 'ERROR') console.error(line);
    return said.message === 'listening' && said.listener === 'public' ? said.address : undefined;
  });
  return { address, captures };
}

const escaped = (json) => JSON.stringify(json).replaceAll('<', '\\u003c');

/** The pages, and the scripts that they load. */
function pages(plan) {
  const files = { '/prebid.js': readFileSync(join(scripts, 'prebid.js')), '/page.js': readFileSync(join(scripts, 'page.js')) };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://a.example');
    const visit = plan.get(`http://${request.headers.host}${pathname}`);
    if (files[pathname]) {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(files[pathname]);
    } else if (visit) {
      response.writeHead(200, { 'content-type': 'text/html' }).end(
        `<!doctype html><html lang="${visit.language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta name="keywords" content="${visit.host}">
<link rel="canonical" href="${visit.url}"><title>${visit.url}</title></head>
<body><script>window.visit=${escaped(visit.forPage)}</script>
<script src="/prebid.js"></script><script src="/page.js"></script></body></html>`);
    } else response.writeHead(404).end();
  });
  return new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(server)));
}

async function go(browser, visit, sums) {
  const context = await browser.createBrowserContext();
  try {
    const page = await context.newPage();
    const { device, language } = visit;
    const client = await page.createCDPSession();
    await client.send('Emulation.setDeviceMetricsOverride', { width: device.width, height: device.height,
      deviceScaleFactor: device.scale, mobile: device.isMobile, screenWidth: device.width, screenHeight: device.height });
    await client.send('Emulation.setTouchEmulationEnabled', { enabled: device.isMobile });
    await client.send('Emulation.setUserAgentOverride', { userAgent: device.userAgent, platform: device.platform,
      acceptLanguage: `${language},en;q=0.5`, userAgentMetadata: device.data });
    page.on('requestfailed', (request) => {
      sums.unreached += 1;
      if (sums.unreached <= 5) console.error(`${request.url()}: ${request.failure()?.errorText}`);
    });
    page.on('response', (response) => {
      if (!response.url().startsWith(EXCHANGE)) return;
      const status = `${response.request().method()} ${response.status()}`;
      sums.answers[status] = (sums.answers[status] ?? 0) + 1;
    });
    await page.goto(visit.url, { waitUntil: 'domcontentloaded', timeout: VISIT_MS, referer: visit.referrer });
    await page.waitForFunction('window.auctions.done === true', { timeout: VISIT_MS, polling: 50 });
    const { started, bids, failures } = await page.evaluate('window.auctions');
    sums.visits += 1;
    sums.auctions += started;
    sums.bids += bids;
    sums.failures += failures;
  } catch (fault) {
    sums.broken += 1;
    console.error(`${visit.url}: ${fault.message}`);
  } finally {
    await context.close();
  }
}

async function browse(address, port, all) {
  const secure = SITES.map((site) => `http://${site.host}`).join(',');
  const browser = await puppeteer.launch({
    executablePath: chromium, headless: true, userDataDir: join(folder, 'profile'),
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-default-apps', '--disable-dev-shm-usage',
      `--host-resolver-rules=MAP exchange.example ${address}, MAP *.example 127.0.0.1:${port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
      `--unsafely-treat-insecure-origin-as-secure=${secure}`],
  });
  const sums = { visits: 0, auctions: 0, bids: 0, failures: 0, broken: 0, unreached: 0, answers: {} };
  try {
    const queue = all[Symbol.iterator]();
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (const visit of queue) await go(browser, visit, sums);
    }));
    return { ...sums, browser: await browser.version() };
  } finally {
    await browser.close();
  }
}

try {
  const { address, captures } = await exchange(await bidders());
  const at = `${EXCHANGE}/openrtb2/pages`;
  const all = [...visits(Number(seed), Number(count), { bare: at, keyed: `${at}/${KEY}`, key: KEY })];
  const server = await pages(new Map(all.map((visit) => [visit.url, visit])));
  const sums = await browse(address, server.address().port, all);
  server.closeAllConnections();
  server.close();
  for (const child of children.toReversed()) await end(child, 'SIGTERM');
  writeFileSync(join(out, 'sums.json'), `${JSON.stringify(sums)}\n`);
  for (const name of readdirSync(captures)) copyFileSync(join(captures, name), join(out, name));
  console.log(sums);
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
