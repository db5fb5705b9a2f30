/** Everything that is wrong with a webhook, before it is written. */
import type pg from 'pg';
import { RULES } from '../../database/constraint-texts.ts';
import { compilePolicy } from '../../deliver/address-guard.ts';
import { urlProblem } from '../../deliver/url-guard.ts';
import { unlogged } from './unlogged.ts';
import type { Columns } from './webhooks.ts';

export interface ColumnProblem {
  column: string;
  message: string;
}

/** Columns of type jsonb, whose values are JSON texts. */
const JSON_COLUMNS = ['filter', 'headers', 'auth_config'];

/** `id` null: a webhook that is to be created. */
export async function webhookProblems(
  client: pg.ClientBase,
  id: string | null,
  columns: Columns,
): Promise<ColumnProblem[]> {
  const fields = columns.map(([column, value]) => {
    const text = JSON_COLUMNS.includes(column) && value !== null ? String(value) : JSON.stringify(value);
    return `${JSON.stringify(column)}:${text}`;
  });
  const { rows } = await unlogged<{ rule: string | null; field: string | null; message: string | null }>(
    client,
    'select rule, field, message from rowhook._webhook_problems($1, $2)',
    [id, `{${fields.join(',')}}`],
  );
  return rows.map(({ rule, field, message }) => {
    if (field !== null) return { column: field, message: withoutColumn(field, message ?? '') };
    const sentence = RULES[rule ?? ''];
    if (sentence === undefined) return { column: rule ?? '', message: 'must not be null' };
    const [column = ''] = sentence.split(' ', 1);
    return { column, message: sentence.slice(column.length + 1) };
  });
}

/** A phrase about a filter begins with its place: "filter: …", or "filter.data.stage: …". */
function withoutColumn(column: string, message: string): string {
  return message.startsWith(`${column}: `) ? message.slice(column.length + 2) : message;
}

const SERVE_TOO = 'Set it for "rowhook serve" as well as for the daemon.';

export interface UrlPolicy {
  allowHttp: boolean;
  allowCidrs: readonly string[];
  denyCidrs: readonly string[];
}

/**
 * Why the daemon would not send to a URL, by its text alone. No name is looked up. The API has its
 * own copy of the settings, and the text of the daemon names only the daemon.
 */
export function judgeUrl(url: string, policy: UrlPolicy, allowedIps?: readonly string[] | null): string | undefined {
  const { allowHttp, allowCidrs, denyCidrs } = policy;
  const compiled = compilePolicy({ allowHttp, allowCidrs: [...allowCidrs], denyCidrs: [...denyCidrs] });
  const problem = urlProblem(url, compiled, allowedIps ?? undefined);
  return problem?.includes('ROWHOOK_ALLOW_') ? `${problem} ${SERVE_TOO}` : problem;
}
