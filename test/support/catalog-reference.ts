/** The parts of docs/dba/approve.md that come from the catalog of a database with rowhook. */

import type { Part } from './reference.ts';

const page = 'docs/dba/approve.md';

export type Query = <Row extends object>(sql: string) => Promise<Row[]>;

export async function catalogParts(query: Query): Promise<Part[]> {
  return [
    { page, name: 'objects', text: await objects(query) },
    { page, name: 'definers', text: await definers(query) },
    { page, name: 'grants', text: await grants(query) },
    { page, name: 'calls', text: await calls(query) },
  ];
}

const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `${line(head)}${'|---'.repeat(head.length)}|\n${rows.map(line).join('')}`;

const code = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');

interface Counts {
  tables: number;
  partitions: number;
  indexes: number;
  views: number;
  invokerViews: number;
  sequences: number;
  unprotected: string[];
  functions: number;
  definers: number;
  openDefiners: number;
  publicFunctions: number;
  policies: number;
  triggers: number;
  foreignKeys: number;
}

/** A partition and its indexes and triggers are counted once, as partitions. */
async function objects(query: Query): Promise<string> {
  const [counts] = await query<Counts>(`
    with relation as (select * from pg_class where relnamespace = 'rowhook'::regnamespace),
         function as (select * from pg_proc where pronamespace = 'rowhook'::regnamespace)
    select (select count(*)::int from relation where relkind in ('r', 'p') and not relispartition) as tables,
           (select count(*)::int from relation where relkind in ('r', 'p') and relispartition) as partitions,
           (select count(*)::int from relation where relkind in ('i', 'I') and not relispartition) as indexes,
           (select count(*)::int from relation where relkind = 'v') as views,
           (select count(*)::int from relation where relkind = 'v' and 'security_invoker=true' = any (reloptions)) as "invokerViews",
           (select count(*)::int from relation where relkind = 'S') as sequences,
           array(select relname::text from relation
                  where relkind in ('r', 'p') and not (relrowsecurity and relforcerowsecurity) order by 1) as unprotected,
           (select count(*)::int from function) as functions,
           (select count(*)::int from function where prosecdef) as definers,
           (select count(*)::int from function
             where prosecdef and not exists (select from unnest(proconfig) as c where c like 'search\\_path=%')) as "openDefiners",
           (select count(*)::int from function
             where proacl is null or exists (select from aclexplode(proacl) where grantee = 0)) as "publicFunctions",
           (select count(*)::int from pg_policy where polrelid in (select oid from relation)) as policies,
           (select count(*)::int from pg_trigger
             where tgrelid in (select oid from relation) and not tgisinternal and tgparentid = 0) as triggers,
           (select count(*)::int from pg_constraint
             where conrelid in (select oid from relation) and contype = 'f' and conparentid = 0) as "foreignKeys"`);
  const c = counts as Counts;
  return table(
    ['objects', 'number', ''],
    [
      ['tables', `${c.tables}`, `row-level security is enabled and forced on all except ${code(c.unprotected)}`],
      [
        'partitions',
        `${c.partitions}`,
        'on the day of the installation: slots of the outbox, days of the log and of inbound events',
      ],
      ['indexes', `${c.indexes}`, 'without those of partitions'],
      ['views', `${c.views}`, `${c.invokerViews} of them with \`security_invoker\``],
      ['sequences', `${c.sequences}`, ''],
      ['functions', `${c.functions}`, `${c.publicFunctions} may be called by \`PUBLIC\``],
      [
        '… with `SECURITY DEFINER`',
        `${c.definers}`,
        `${c.openDefiners} of them without a \`search_path\` of their own`,
      ],
      ['policies', `${c.policies}`, ''],
      ['triggers on tables of rowhook', `${c.triggers}`, ''],
      ['foreign keys', `${c.foreignKeys}`, 'none refers to a table of yours'],
    ],
  );
}

interface CatalogFunction {
  name: string;
  comment: string;
  definer: boolean;
  isTrigger: boolean;
  callers: string[];
  text: string;
}

/** What a function touches, with all functions that it calls. */
interface Touches {
  reads: Set<string>;
  writes: Set<string>;
  buildsSql: boolean;
}

const WRITES = /\b(?:insert into|update(?: only)?|delete from|truncate(?: table)?)\s+(?:only\s+)?rowhook\.(\w+)/gi;

async function definers(query: Query): Promise<string> {
  const relations = new Set(
    (
      await query<{ name: string }>(
        `select relname::text as name from pg_class
          where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p', 'v') and not relispartition`,
      )
    ).map(({ name }) => name),
  );
  const functions = await query<CatalogFunction>(`
    select proname::text as name, obj_description(p.oid, 'pg_proc') as comment, prosecdef as definer,
           prorettype = 'trigger'::regtype as "isTrigger", pg_get_functiondef(p.oid) as text,
           array(select grantee::regrole::text from aclexplode(proacl)
                  where grantee <> proowner and privilege_type = 'EXECUTE' order by 1) as callers
      from pg_proc p
     where pronamespace = 'rowhook'::regnamespace
     order by proname, p.oid`);
  const texts = Map.groupBy(functions, ({ name }) => name);

  const touch = (name: string, found: Touches, seen: Set<string>): Touches => {
    if (seen.has(name)) return found;
    seen.add(name);
    for (const { text } of texts.get(name) ?? []) {
      const sql = text.replaceAll(/--.*$/gm, '');
      const relation = (word = '') => [word, word.replace(/_(?:default)?$/, '')].find((one) => relations.has(one));
      for (const [, word] of sql.matchAll(/rowhook\.(\w+)/g)) {
        const named = relation(word);
        if (named) found.reads.add(named);
        else if (texts.has(word as string)) touch(word as string, found, seen);
      }
      for (const [, word] of sql.matchAll(/'(\w+)'/g)) {
        const named = relation(word);
        if (named) found.reads.add(named);
      }
      for (const [, word] of sql.matchAll(WRITES)) {
        const named = relation(word);
        if (named) found.writes.add(named);
      }
      found.buildsSql ||= /\bexecute\s+(?:format\(|v_)/i.test(sql);
    }
    return found;
  };

  const rows = functions
    .filter(({ definer }) => definer)
    .map(({ name, comment, isTrigger, callers }) => {
      const { reads, writes, buildsSql } = touch(
        name,
        { reads: new Set(), writes: new Set(), buildsSql: false },
        new Set(),
      );
      const onlyRead = [...reads].filter((one) => !writes.has(one)).sort();
      const touched = [
        ...(writes.size > 0 ? [`writes ${code([...writes].sort())}`] : []),
        ...(onlyRead.length > 0 ? [`reads ${code(onlyRead)}`] : []),
        ...(buildsSql ? ['builds SQL'] : []),
      ];
      const who = callers.length > 0 ? code(callers) : isTrigger ? 'nobody: a trigger' : '`rowhook_owner`';
      return [`\`${name}\``, who, firstSentence(comment), touched.join('; ') || 'no table'];
    });
  return table(['function', 'may be called by', 'what it does', 'touches'], rows);
}

/** Of a comment; without the colon that would begin a list. A name with <…> becomes code, which no page takes for an element. */
function firstSentence(comment: string): string {
  const [sentence = ''] = /^.*?[.](?= [A-Z]|$)/.exec(comment) ?? [];
  return (sentence || comment).replaceAll('|', '\\|').replaceAll(/[\w.]*<\w+>/g, '`$&`');
}

const ROLES = ['rowhook_app', 'rowhook_api', 'rowhook_daemon', 'rowhook_worker'] as const;

async function grants(query: Query): Promise<string> {
  const rows = await query<{ name: string; kind: string; role: string; privilege: string; columns: number }>(`
    with relation as (
      select * from pg_class
       where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p', 'v', 'S') and not relispartition),
    privilege as (
      select c.oid, a.grantee, lower(a.privilege_type) as privilege, 0 as columns
        from relation c cross join lateral aclexplode(c.relacl) as a
      union all
      select c.oid, a.grantee, lower(a.privilege_type), count(*)::int
        from relation c join pg_attribute t on t.attrelid = c.oid cross join lateral aclexplode(t.attacl) as a
       group by 1, 2, 3)
    select c.relname::text as name, c.relkind::text as kind, p.grantee::regrole::text as role, p.privilege, p.columns
      from relation c join privilege p on p.oid = c.oid
     where p.grantee <> c.relowner and p.grantee <> 0
     order by c.relkind = 'S', c.relname,
              array_position('{select,usage,insert,update,delete,truncate}'::text[], p.privilege), p.privilege`);
  const lines = [...Map.groupBy(rows, ({ name }) => name)].map(([name, privileges]) => [
    `\`${name}\``,
    ...ROLES.map((role) =>
      privileges
        .filter((one) => one.role === role)
        .map(({ privilege, columns }) => (columns > 0 ? `${privilege} of ${columns} columns` : privilege))
        .join(', '),
    ),
  ]);
  return table(['table, view or sequence', ...ROLES.map((role) => `\`${role}\``)], lines);
}

/** What each role may call, directly and not by membership. Private functions are those that only rowhook calls. */
async function calls(query: Query): Promise<string> {
  const rows = await query<{ role: string; name: string; definer: boolean }>(`
    select a.grantee::regrole::text as role, proname::text as name, prosecdef as definer
      from pg_proc p cross join lateral aclexplode(proacl) as a
     where pronamespace = 'rowhook'::regnamespace and a.grantee <> proowner and a.grantee <> 0
       and prorettype <> 'trigger'::regtype
     order by 1, 2`);
  const lines = ROLES.map((role) => {
    const own = rows.filter((row) => row.role === role);
    const names = [...new Set(own.map(({ name }) => name))];
    const published = names.filter((name) => !name.startsWith('_'));
    const definers = own.filter(({ definer }) => definer).length;
    return [`\`${role}\``, code(published), `${names.length - published.length}`, `${definers}`];
  });
  return table(['role', 'public functions', 'private functions', 'with `SECURITY DEFINER`'], lines);
}
