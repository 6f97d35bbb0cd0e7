// The two pictures of the last minutes. They are drawn from the steps; what a column holds is also
// said as text below, by pointer or with the arrow keys.

const ENDS = [
  ['answered', 'answered', '--good'],
  ['no_bid', 'no bid', '--idle'],
  ['client_gone', 'client gone', '--quiet'],
  ['refused', 'refused', '--warn'],
  ['shed', 'shed', '--bad'],
];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A canvas in device pixels, cleared, with room for the axes.
function paper(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  pen.font = '11px system-ui, sans-serif';
  pen.fillStyle = color('--quiet');
  return { pen, left: 46, top: 8, width: Math.max(10, width - 52), height: Math.max(10, height - 28) };
}

// The next of 1, 1.5, 2, 3, 5, 8, 10, 15 ...
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 1.5, 2, 3, 5, 8, 10].map((one) => one * power).find((one) => one >= value) || power;
}

function times(sheet, steps, columns) {
  const { pen, left, top, width, height } = sheet;
  pen.textBaseline = 'top';
  pen.textAlign = 'right';
  pen.fillText(clock(steps[steps.length - 1].at), left + width, top + height + 5);
  pen.textAlign = 'left';
  // the first column may be empty yet
  const from = left + ((columns - steps.length) / columns) * width;
  if (from < left + width - 130) pen.fillText(clock(steps[0].at), from, top + height + 5);
}

// Requests a second, one area on the other.
function drawRate(canvas, steps, columns) {
  const sheet = paper(canvas);
  const { pen, left, top, width, height } = sheet;
  const rate = (step, end) => step[end] / Math.max(step.seconds, 0.1);
  const most = roundUp(Math.max(1, ...steps.map((step) => ENDS.reduce((all, [end]) => all + rate(step, end), 0))));
  pen.textAlign = 'right';
  pen.textBaseline = 'middle';
  pen.strokeStyle = color('--line');
  for (const part of [0, 0.5, 1]) {
    const y = top + height * (1 - part);
    pen.fillText(num(most * part), left - 6, y);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(left + width, y);
    pen.stroke();
  }
  if (!steps.length) return;
  const column = width / columns;
  steps.forEach((step, at) => {
    const x = left + (columns - steps.length + at) * column;
    let y = top + height;
    for (const [end, , ink] of ENDS) {
      const tall = (rate(step, end) / most) * height;
      if (tall <= 0) continue;
      pen.fillStyle = color(ink);
      pen.fillRect(x, y - tall, Math.max(1, column + 0.3), tall);
      y -= tall;
    }
  });
  pen.fillStyle = color('--quiet');
  times(sheet, steps, columns);
}

// How many auctions took how long: a column a step, a row a bucket.
function drawHeat(canvas, steps, columns, bounds) {
  const sheet = paper(canvas);
  const { pen, left, top, width, height } = sheet;
  const used = steps.flatMap((step) => step.auctions.map(([bucket]) => bucket));
  if (!used.length || !bounds) {
    pen.textAlign = 'left';
    pen.fillText('no auction yet', left, top + height / 2);
    return;
  }
  const low = Math.max(0, Math.min(...used) - 2);
  const high = Math.max(Math.max(...used) + 2, low + 8);
  const row = height / (high - low + 1);
  const column = width / columns;
  const most = Math.max(...steps.flatMap((step) => step.auctions.map(([, count]) => count)));
  const heat = color('--heat');
  steps.forEach((step, at) => {
    const x = left + (columns - steps.length + at) * column;
    for (const [bucket, count] of step.auctions) {
      // by the logarithm: one slow auction among thousands is to be seen
      const part = 0.16 + (0.84 * Math.log1p(count)) / Math.log1p(most);
      pen.fillStyle = `rgba(${heat}, ${part.toFixed(3)})`;
      pen.fillRect(x, top + (high - bucket) * row, Math.max(1, column + 0.3), Math.max(1, row - 0.4));
    }
  });
  pen.fillStyle = color('--quiet');
  pen.textAlign = 'right';
  pen.textBaseline = 'middle';
  const every = Math.max(1, Math.ceil((high - low) / 6));
  for (let bucket = low; bucket <= high; bucket += every) {
    const bound = bounds[bucket];
    if (bound) pen.fillText(span(bound / 1e6), left - 6, top + (high - bucket) * row + row / 2);
  }
  times(sheet, steps, columns);
}

// Says what the column under the pointer, or chosen by the arrow keys, holds.
function readout(canvas, line, state, tell) {
  let chosen = null;
  const say = () => {
    const steps = state.steps;
    if (chosen === null || !steps.length) return;
    // nothing was there yet
    const step = steps[steps.length - 1 - Math.max(0, chosen)];
    line.textContent = step ? tell(step) : '\u00a0';
  };
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect();
    const part = (event.clientX - box.left - 46) / Math.max(10, box.width - 52);
    chosen = Math.round((1 - part) * state.columns - 0.5);
    say();
  });
  canvas.addEventListener('pointerleave', () => { chosen = null; line.textContent = '\u00a0'; });
  canvas.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: 1, ArrowRight: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    chosen = Math.max(0, Math.min(state.steps.length - 1, (chosen ?? 0) + by));
    say();
  });
}
