/** Filters that rowhook adds to Liquid, and those that it replaces. Pure. */

/** JSON text with all digits of numbers. What is missing is null, so that the output stays JSON. */
export function json(value: unknown, space: unknown = 0): string {
  const indent = Math.min(10, Math.max(0, Number(space) || 0));
  return JSON.stringify(value, null, indent) ?? 'null';
}

const FIELDS_MAX = 1_000;

/**
 * The first fields of an object as a list of {name, value}, for templates that show any row. Texts
 * stay as they are, all other values become JSON. Anything else than an object has one field.
 */
export function fields(value: unknown, max: unknown = FIELDS_MAX): { name: string; value: string }[] {
  const count = Math.min(FIELDS_MAX, Math.max(0, Number(max) || 0));
  const isObject = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  const entries = isObject ? Object.entries(value) : Array.isArray(value) ? Object.entries(value) : [['data', value]];
  return entries.slice(0, count).map(([name, one]) => ({
    name: String(name),
    value: typeof one === 'string' ? one : json(one),
  }));
}

const SLACK: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/** Slack reads `<!channel>` and `<@U1>` as mentions, and has these three escapes. */
export function slackEscape(value: unknown): string {
  return String(value ?? '').replace(/[&<>]/g, (sign) => SLACK[sign] as string);
}

/**
 * For Discord and Teams: signs of Markdown get a backslash, and an invisible space behind @ keeps
 * @everyone from being a mention.
 */
export function markdownEscape(value: unknown): string {
  return String(value ?? '')
    .replace(/[\\`*_~|<>[\]()#]/g, '\\$&')
    .replaceAll('@', '@\u200b');
}
