// The console in a real browser, against a real exchange with four bidders of this script's own:
// one bids, one does not, one is late, one fails.
//
//   GAVEL=target/debug/gavel CHROMIUM=/usr/bin/chromium PLAYWRIGHT=FOLDER node tests/console/check.mjs
//
// PLAYWRIGHT is a folder with node_modules/playwright-core; SHOTS=FOLDER keeps pictures. `.ci/console`
// provides all of it. It waits for states, never for a time; each wait ends after a minute.
import { spawn } from 'node:child_process';
import { createServer, request as httpRequest } from 'node:http';
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const PATIENCE = 60_000;
const { GAVEL = 'target/debug/gavel', CHROMIUM = '/usr/bin/chromium', PLAYWRIGHT = '.', SHOTS } = process.env;
const { chromium } = createRequire(join(resolve(PLAYWRIGHT), 'x.js'))('playwright-core');
const TOKEN = 'let-me-in';
// A name that would run, were it ever markup: bidders choose their seats.
const HOSTILE = '<img src=x onerror="window.struck=1"></script>';

let checks = 0;
function that(is, what) {
  checks += 1;
  if (!is) throw new Error(`not so: ${what}`);
}

// === bidders ===

const answers = {
  generous: (body, send) => send(200, bids(body, 2.5)),
  modest: (body, send) => send(200, bids(body, 0.01)),
  shy: (body, send) => send(204),
  late: (body, send) => setTimeout(() => send(204), 900),
  ill: (body, send) => send(500),
};

function bids(body, price) {
  const bid = body.imp.map((imp) => ({ id: `b-${imp.id}`, impid: imp.id, price, crid: 'c-1', adomain: ['example.com'], adm: '<p>ad</p>', w: 300, h: 250 }));
  return JSON.stringify({ id: body.id, cur: 'USD', seatbid: [{ seat: price > 1 ? HOSTILE : 'seat-2', bid }] });
}

function bidder(answer) {
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => answer(JSON.parse(Buffer.concat(parts)), (status, text = '') => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(status === 204 ? undefined : text);
    }));
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}

// === the exchange ===

function config(folder, servers, token) {
  const partner = (name, more) => `[[partners]]\nname = '${name}'\nopen = true\ntmax_default = '400ms'\n${more}`;
  const one = ([name, server]) => `[[bidders]]\nname = '${name}'\nurl = 'http://127.0.0.1:${server.address().port}/bid'\n[bidders.limits]\nqps = 500\n`;
  const text = ["[http]\nlisten = '127.0.0.1:0'", `[admin]\nlisten = '127.0.0.1:0'\n${token}`,
    "[admission]\nlag_target = '100ms'\nburst_time = '1h'\nburst_lag = '1h'",
    partner('news-site', 'qps = 1000\n'), partner('app-network', ''), ...Object.entries(servers).map(one)].join('\n');
  const path = join(folder, 'gavel.toml');
  writeFileSync(path, text);
  return path;
}

function exchange(path) {
  const child = spawn(GAVEL, ['serve', '--config', path, '--operations', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const at = {};
  return new Promise((done, failed) => {
    child.on('exit', (code) => failed(new Error(`the exchange ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text);
      if (line.level === 'ERROR') failed(new Error(text));
      if (line.message === 'listening') at[line.listener] = line.address;
      if (line.message === 'ready') done({ child, at });
    });
  });
}

function post(address, partner, body) {
  const [host, port] = address.split(':');
  return new Promise((done) => {
    const request = httpRequest({ host, port, method: 'POST', path: `/openrtb2/${partner}`, headers: { 'content-type': 'application/json' } }, (response) => {
      response.resume().on('end', () => done(response.statusCode));
    });
    request.on('error', () => done(0));
    request.end(body);
  });
}

// Traffic until it is stopped: mostly good, some of it not.
function traffic(address) {
  let isOn = true;
  const banner = (id) => JSON.stringify({ id, tmax: 300, imp: [{ id: '1', bidfloor: 0.5, banner: { w: 300, h: 250 } }], site: { domain: 'example.com' }, device: { ip: '198.51.100.9', ua: 'Mozilla/5.0' } });
  const bad = ['{', '{"id":"1"}', JSON.stringify({ id: '1', imp: [{ id: '1' }], site: {} })];
  const loop = async (partner) => {
    for (let n = 0; isOn; n += 1) {
      await post(address, n % 31 === 0 ? 'nobody' : partner, n % 13 === 0 ? bad[n % 3] : banner(`r-${n}`));
      await new Promise((next) => { setTimeout(next, 20); });
    }
  };
  const all = ['news-site', 'news-site', 'app-network'].map(loop);
  return async () => { isOn = false; await Promise.all(all); };
}

// === the page ===

async function open(browser, address, options) {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(PATIENCE);
  const faults = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) faults.push(message.text()); });
  page.on('pageerror', (fault) => faults.push(String(fault)));
  page.on('request', (request) => { if (!request.url().startsWith(`http://${address}/`) && !request.url().startsWith('data:')) faults.push(`asks for ${request.url()}`); });
  await page.goto(`http://${address}/`);
  return { page, faults };
}

const text = (page, selector) => page.locator(selector).innerText();
const until = (page, check, argument) => page.waitForFunction(check, argument, { timeout: PATIENCE });

async function shows(page) {
  await until(page, () => document.querySelector('#phase').textContent === 'ready');
  await until(page, () => parseFloat(document.querySelector('#tiles dd').textContent) > 0);
  const before = await text(page, '#stamp');
  await until(page, (was) => document.querySelector('#stamp').textContent !== was, before);
  that((await text(page, '#bidder-table')).includes('generous'), 'the bidders are named');
  that((await text(page, '#partners')).includes('news-site'), 'the partners are named');
  that((await text(page, '#reason-lists')).includes('unauthorised'), 'refusals have their reasons');
  await until(page, () => /within \d/.test(document.querySelector('#heat').getAttribute('aria-label')));
  const painted = await page.evaluate(() => ['rate', 'heat'].map((id) => {
    const canvas = document.getElementById(id);
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value) => value !== 0);
  }));
  that(painted.every(Boolean), 'both pictures are drawn');
}

async function tries(page) {
  await page.selectOption('#trial-partner', 'app-network');
  await page.click('#trial-send');
  await until(page, () => document.querySelectorAll('#road .road > li').length === 6);
  const road = await text(page, '#road');
  for (const word of ['generous', 'won, pays', 'rejected: below floor', 'HTTP 200', HOSTILE]) that(road.includes(word), `the road says ${word}`);
  that(/HTTP 500|breaker open/.test(road), 'the ill bidder fails, or is left alone by now');
  await page.selectOption('#trial-example', { index: 3 });
  await page.click('#trial-send');
  await until(page, () => document.querySelector('#road .stop') !== null);
  that((await text(page, '#road')).includes('imp no media'), 'a refused request says where it stopped');
  await page.fill('#trial-body', '{"id": }');
  await page.click('#trial-send');
  await until(page, () => document.querySelector('#road [role=alert]') !== null);
  that((await text(page, '#road')).includes('line 1'), 'what is no JSON says where');
  await page.selectOption('#trial-example', { index: 0 });
  await page.click('#trial-send');
  await until(page, () => document.querySelectorAll('#road .lane').length === 5);
}

async function fits(page, width) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  that(wide <= width, `no horizontal scroll at ${width}: ${wide}`);
  const nameless = await page.evaluate(() => [...document.querySelectorAll('input, select, textarea, button, canvas')]
    .filter((one) => !(one.labels && one.labels.length) && !one.textContent.trim() && !one.getAttribute('aria-label')).map((one) => one.id));
  that(nameless.length === 0, `every control has a name: ${nameless}`);
}

// The least contrast of text on what is behind it (WCAG: 4.5).
async function contrast(page) {
  const least = await page.evaluate(() => {
    const rgb = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => { const c = one / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; })
      .reduce((all, one, at) => all + one * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (node) => { for (let one = node; one; one = one.parentElement) { const color = rgb(getComputedStyle(one).backgroundColor); if (color.length < 4 || color[3] > 0.99) return color; } return [255, 255, 255]; };
    let worst = [99, ''];
    for (const node of document.querySelectorAll('body *')) {
      const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!own || !node.offsetParent || node.closest('.skipped, .off, button:disabled')) continue;
      const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < worst[0]) worst = [ratio, node.textContent.slice(0, 40)];
    }
    return worst;
  });
  that(least[0] >= 4.5, `text is readable: ${least[0].toFixed(2)} at "${least[1]}"`);
}

const LOOKS = [['desk-light', 1440, 1000, 'light'], ['desk-dark', 1440, 1000, 'dark'], ['phone-light', 390, 844, 'light'], ['phone-dark', 390, 844, 'dark']];

async function looks(browser, address) {
  for (const [name, width, height, colorScheme] of LOOKS) {
    const { page, faults } = await open(browser, address, { viewport: { width, height }, colorScheme });
    await shows(page);
    await tries(page);
    await fits(page, width);
    await contrast(page);
    that((await page.evaluate(() => window.struck)) === undefined, 'a hostile name stays text');
    if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
    const bad = faults.filter((fault) => !fault.includes('status of 400'));
    that(bad.length === 0, `nothing is wrong in the page: ${bad.join('; ')}`);
    await page.close();
  }
}

async function asksForToken(browser, address) {
  const { page } = await open(browser, address, {});
  await page.locator('#login').waitFor();
  that(!(await page.locator('#main').isVisible()), 'nothing is shown without the token');
  await page.fill('#token', 'wrong');
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('#login-why').textContent.includes('not the token'));
  await page.fill('#token', TOKEN);
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('#phase').textContent === 'ready');
  that(await page.locator('#main').isVisible(), 'the token opens it');
  await page.close();
}

function hashed(token) {
  return new Promise((done) => {
    const child = spawn(GAVEL, ['hash-key'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (part) => { out += part; });
    child.on('close', () => done(out.match(/blake3:[0-9a-f]{64}/)[0]));
    child.stdin.end(token);
  });
}

const folder = mkdtempSync(join(tmpdir(), 'gavel-console-'));
const ends = [() => rmSync(folder, { recursive: true, force: true })];
try {
  const names = Object.keys(answers);
  const made = await Promise.all(names.map((name) => bidder(answers[name])));
  made.forEach((server) => ends.push(() => { server.close(); server.closeAllConnections(); }));
  const servers = Object.fromEntries(names.map((name, at) => [name, made[at]]));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  ends.push(() => browser.close());
  const start = async (token) => {
    const running = await exchange(config(folder, servers, token));
    ends.push(() => { running.child.removeAllListeners('exit'); running.child.kill('SIGKILL'); });
    return running.at;
  };
  const at = await start('');
  ends.push(traffic(at.public));
  await looks(browser, at.admin);
  const locked = await start(`token = '${await hashed(TOKEN)}'`);
  await asksForToken(browser, locked.admin);
  console.log(`console: ${checks} checks passed`);
} catch (fault) {
  console.error(`console: ${fault.stack}`);
  process.exitCode = 1;
} finally {
  for (const end of ends.reverse()) await end();
}
