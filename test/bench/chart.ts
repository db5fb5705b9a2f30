// Line charts as SVG, for docs/internals/performance.md: one series, a logarithmic x axis, y from nought. Readable on white and on black.

export interface Chart {
  title: string;
  xLabel: string;
  points: readonly { x: number; y: number }[];
}

const WIDTH = 640;
const HEIGHT = 260;
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 24, 40, 44];
const GRID_LINES = 4;

export function svg({ title, xLabel, points }: Chart): string {
  const logs = points.map(({ x }) => Math.log10(x));
  const [min, max] = [Math.min(...logs), Math.max(...logs)];
  const top = niceAbove(Math.max(...points.map(({ y }) => y)));
  const atX = (x: number) => LEFT + ((Math.log10(x) - min) / (max - min || 1)) * (WIDTH - LEFT - RIGHT);
  const atY = (y: number) => HEIGHT - BOTTOM - (y / top) * (HEIGHT - TOP - BOTTOM);
  const grid = Array.from({ length: GRID_LINES + 1 }, (_, n) => (top / GRID_LINES) * n).map(
    (y) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(atY(y))}" y2="${round(atY(y))}" stroke="#888" stroke-opacity="0.3"/>` +
      text(LEFT - 8, atY(y) + 4, short(y), 'end'),
  );
  const marks = points.map(
    ({ x, y }) =>
      `<circle cx="${round(atX(x))}" cy="${round(atY(y))}" r="4" fill="#2a7de1"/>` +
      text(atX(x), atY(y) - 10, short(y), 'middle') +
      text(atX(x), HEIGHT - BOTTOM + 18, short(x), 'middle'),
  );
  const path = points.map(({ x, y }) => `${round(atX(x))},${round(atY(y))}`).join(' ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#888" role="img" aria-label="${title}">
${text(LEFT, 20, title, 'start')}
${grid.join('\n')}
<polyline points="${path}" fill="none" stroke="#2a7de1" stroke-width="2"/>
${marks.join('\n')}
${text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, xLabel, 'middle')}
</svg>
`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${content}</text>`;
}

/** The next of 1, 2, 4, 6, 8 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return (([1, 2, 4, 6, 8].find((step) => step * power >= value) ?? 10) * power) as number;
}

const round = (value: number) => Math.round(value * 10) / 10;

function short(value: number): string {
  if (value >= 1e6) return `${round(value / 1e6)} M`;
  return value >= 10_000 ? `${round(value / 1000)} k` : Math.round(value).toLocaleString('en');
}
