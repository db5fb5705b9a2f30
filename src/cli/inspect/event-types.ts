/** `rowhook event-types` and `rowhook types`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf } from '../../config/parse.ts';
import { type Out, printTable } from '../../shared/terminal.ts';
import { type Cli, help, onDatabase, parsed } from '../define.ts';

const LANGUAGES = ['typescript', 'json-schema', 'openapi'] as const;

export function addEventTypes(program: Command, cli: Cli): void {
  const list = onDatabase(
    cli,
    program.command('event-types').description('list the event types, with schemas and samples in JSON'),
    (client, flags: { json?: boolean }) => listTypes(client, flags, cli.out),
  );
  help(
    list,
    ['rowhook event-types', 'rowhook event-types --json | jq \'select(.event_type == "deal.created").schema\''],
    'rowhook.define_event_type() describes the events that your application emits.',
  );

  const types = onDatabase(
    cli,
    program
      .command('types')
      .description('write the types that a receiver needs')
      .option(
        '--lang <language>',
        'typescript (default), json-schema or openapi',
        parsed('--lang', oneOf([...LANGUAGES])),
      ),
    (client, flags: { lang?: string }) => writeTypes(client, flags.lang ?? 'typescript', cli.out),
  );
  help(
    types,
    ['rowhook types > webhooks.ts', 'rowhook types --lang json-schema', 'rowhook types --lang openapi'],
    "They describe bodies with payload_format 'nested': a union that the field event tells apart.",
  );
}

const catalog = async (client: pg.Client) => (await import('../../operations/events/catalog.ts')).readCatalog(client);

async function listTypes(client: pg.Client, { json }: { json?: boolean }, out: Out): Promise<void> {
  const rows = await catalog(client);
  if (json) {
    // The texts are spliced: parsing would change the order of columns with names such as "1".
    for (const { event_type, description, schema, sample } of rows) {
      const known = JSON.stringify({ event_type, description }).slice(0, -1);
      out.print(`${known},"schema":${oneLine(schema)},"sample":${oneLine(sample ?? 'null')}}`);
    }
    return;
  }
  printTable(
    out,
    ['event type', 'description'],
    rows.map(({ event_type, description }) => [event_type, description ?? '']),
  );
}

/** Line breaks in JSON text stand between its values only. */
function oneLine(json: string): string {
  return json.replaceAll(/[\r\n]+/g, ' ');
}

async function writeTypes(client: pg.Client, language: string, out: Out): Promise<void> {
  const types = (await catalog(client)).map(({ event_type, description, schema }) => ({
    event_type,
    description,
    schema: JSON.parse(schema),
  }));
  if (language === 'typescript') {
    const { typescriptOf } = await import('../../catalog/typescript.ts');
    out.print(typescriptOf(types).trimEnd());
  } else if (language === 'openapi') {
    const { openApiDocument } = await import('../../catalog/openapi.ts');
    out.print(JSON.stringify(openApiDocument(types), null, 2));
  } else {
    const { payloadsSchema } = await import('../../catalog/payload-schema.ts');
    out.print(JSON.stringify(payloadsSchema(types), null, 2));
  }
}
