// A picture of what a command prints on a terminal, from its output with its colours.

const FONT = 14;
const CHARACTER = FONT * 0.6;
const LINE = 20;
const MARGIN = 20;
const BAR = 32;
const COLOURS: Readonly<Record<number, string>> = { 31: '#ff8080', 32: '#6fdd8b', 33: '#f0c674' };

interface Span {
  text: string;
  style: string;
}

/** `title` is for those who do not see it. */
export function terminalSvg(lines: readonly string[], title: string): string {
  const parsed = lines.map(spansOf);
  const columns = Math.max(...parsed.map((spans) => spans.reduce((sum, { text }) => sum + text.length, 0)));
  const [width, height] = [Math.ceil(columns * CHARACTER) + 2 * MARGIN, lines.length * LINE + 2 * MARGIN + BAR - 8];
  const rows = parsed.map((spans, row) => rowOf(spans, BAR + MARGIN + row * LINE));
  const dots = ['#ff5f57', '#febc2e', '#28c840'].map(
    (fill, n) => `<circle cx="${20 + n * 18}" cy="18" r="5.5" fill="${fill}"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(title)}">`,
    `<rect width="${width}" height="${height}" rx="10" fill="#161b26"/>`,
    dots.join(''),
    `<g font-family="ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT}" fill="#dfe5f0">`,
    ...rows,
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

/** Each span has its place and its length, so that any font keeps the columns. */
function rowOf(spans: readonly Span[], y: number): string {
  let column = 0;
  const texts = spans.map(({ text, style }) => {
    const x = MARGIN + column * CHARACTER;
    column += text.length;
    const begin = text.length - text.trimStart().length;
    const shown = text.trim();
    if (shown === '') return '';
    const at = `x="${(x + begin * CHARACTER).toFixed(1)}" y="${y}" textLength="${(shown.length * CHARACTER).toFixed(1)}"`;
    return `<text ${at} lengthAdjust="spacingAndGlyphs" xml:space="preserve"${style}>${escapeXml(shown)}</text>`;
  });
  return texts.join('');
}

function spansOf(line: string): Span[] {
  const spans: Span[] = [];
  let style = '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of colours
  for (const part of line.split(/(\u001b\[\d+m)/)) {
    const code = /\[(\d+)m$/.exec(part)?.[1];
    if (code === undefined || !part.startsWith('\u001b')) {
      if (part !== '') spans.push({ text: part, style });
    } else if (code === '1') style = ' font-weight="bold"';
    else if (code === '2') style = ' fill="#8b97ad"';
    else if (Number(code) in COLOURS) style = ` fill="${COLOURS[Number(code)]}"`;
    else style = '';
  }
  return spans;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
